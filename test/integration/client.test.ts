import type { Msg } from "@nats-io/nats-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { HEADERS, JobRequest, type StreamFrame } from "../../bus-schemas/index.ts";
import { MeshClient } from "../../client/index.ts";
import { connectBus, type Bus } from "../../service/bus.ts";
import { readBody, header, headersFor } from "../../service/messages.ts";
import { createLog } from "../../service/log.ts";
import { encode } from "../../service/codec.ts";
import { startTestBus, type TestBus } from "../kit/bus.ts";
import { nodeRecord } from "../kit/router-parts.ts";

/** MeshClient on a real nats-server; a script plays router and agent on a connection of its own. */

const silent = createLog("test", "silent");
let bus: TestBus;
let mesh: Bus;
let client: MeshClient;
const address = () => ({ url: bus.url, user: bus.user, password: bus.pass, log: silent });

beforeAll(async () => {
  bus = await startTestBus();
});
afterAll(() => bus.stop());
beforeEach(async () => {
  mesh = await connectBus("script", address(), silent);
  client = await MeshClient.connect(address());
});
afterEach(async () => {
  await client.close();
  await mesh.drain();
});

const accepted = (jobId: string): StreamFrame => ({
  type: "accepted",
  job_id: jobId,
  node_id: "n1",
  layer: "L0",
  model: "tiny",
  security_level: "P2",
  diagnostic: false,
  decision_id: null,
  cold_start_ms: null,
});

interface Play {
  jobId: string;
  prompt: string | undefined;
  msg: Msg;
  say(frame: object): void;
  end(status?: string): void;
}

/** Serves jobs by `script`; resolves when the bus knows of it. */
async function serve(script: (play: Play) => void): Promise<void> {
  mesh.listen(mesh.subjects.submits, (msg) => {
    const request = readBody(msg, JobRequest);
    const jobId = header(msg, HEADERS.job) ?? "";
    let seq = 0;
    const say = (frame: object) => {
      const headers = headersFor("shared");
      headers.set(HEADERS.seq, String(seq++));
      mesh.nc.publish(msg.reply ?? "", encode(frame, "shared"), { headers });
    };
    const end = (status = "finished") => say({ type: "end", job_id: jobId, status });
    script({ jobId, prompt: request.prompt, msg, say, end });
  });
  await mesh.nc.flush();
}

/** Resolves when the bus knows that we listen; `body` is that of the next cancel. */
async function nextCancel(): Promise<{ body: Promise<string> }> {
  const { promise, resolve } = Promise.withResolvers<string>();
  mesh.listen(mesh.subjects.cancels, (msg) => resolve(msg.string()));
  await mesh.nc.flush();
  return { body: promise };
}

async function read(stream: AsyncIterable<StreamFrame>, onFrame: (frame: StreamFrame) => unknown = () => undefined) {
  const frames: StreamFrame[] = [];
  for await (const frame of stream) {
    frames.push(frame);
    await onFrame(frame);
  }
  return frames;
}
const ends = (frames: StreamFrame[]) => frames.filter(({ type }) => type === "end");

test("an answer comes piece by piece, for many jobs at once", async () => {
  await serve(({ jobId, prompt, say, end }) => {
    say(accepted(jobId));
    for (const content of `echo ${prompt}`) say({ type: "delta", content });
    end();
  });
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, i) => client.submit({ security_level: "P2", prompt: `job ${i}` })),
  );
  expect(answers.map(({ message }) => message?.content)).toEqual(Array.from({ length: 50 }, (_, i) => `echo job ${i}`));
});

test("without a router the broker says so at once, and the client ends with no_router within its tries", async () => {
  const startedAtMs = performance.now();
  expect(await client.submit({ security_level: "P2", prompt: "x" })).toMatchObject({
    status: "failed",
    error: { code: "no_router" },
  });
  expect(performance.now() - startedAtMs).toBeLessThan(4 * 2000);
});

test("a router that comes up while the client tries is found", async () => {
  const answer = client.submit({ security_level: "P2", prompt: "x" });
  await serve(({ jobId, say, end }) => {
    say(accepted(jobId));
    end();
  });
  expect(await answer).toMatchObject({ status: "finished" });
});

test("a router that takes a job and dies before saying a word: submitted again, answered once", async () => {
  let count = 0;
  const superseded = await nextCancel();
  await serve(({ jobId, say, end }) => {
    if (++count === 1) return;
    say(accepted(jobId));
    end();
  });
  expect(ends(await read(client.stream({ security_level: "P2", prompt: "x" })))).toMatchObject([
    { status: "finished" },
  ]);
  expect(JSON.parse(await superseded.body)).toEqual({ superseded: true });
  expect(count).toBe(2);
});

test("leaving the loop and aborting both reach the node as a cancel", async () => {
  await serve(({ jobId, say }) => say(accepted(jobId)));
  const first = await nextCancel();
  for await (const _ of client.stream({ security_level: "P2", prompt: "x" })) break;
  expect(await first.body).toBe("");
  const second = await nextCancel();
  const abort = new AbortController();
  const frames = await read(client.stream({ security_level: "P2", prompt: "x" }, { signal: abort.signal }), () =>
    abort.abort(),
  );
  expect(ends(frames)).toMatchObject([{ status: "cancelled" }]);
  expect(await second.body).toBe("");
});

test("the bus is killed mid-stream and comes back: the answer goes on from where it was, and the next job runs", async () => {
  const plays: Play[] = [];
  await serve((play) => {
    plays.push(play);
    play.say(accepted(play.jobId));
    play.say({ type: "delta", content: "a" });
    if (plays.length > 1) play.end();
  });
  const frames = await read(client.stream({ security_level: "P2", prompt: "x" }), async (frame) => {
    if (frame.type !== "delta" || plays.length > 1) return;
    await bus.kill();
    await bus.restart();
  });
  expect(frames.map(({ type }) => type)).toEqual(["accepted", "delta", "delta", "end"]);
  expect(ends(frames)).toMatchObject([{ status: "finished" }]);
  expect(plays.map(({ msg }) => readBody(msg, JobRequest).continue_from)).toEqual([undefined, "a"]);
  await mesh.nc.flush();
  expect(await client.submit({ security_level: "P2", prompt: "again" })).toMatchObject({ status: "finished" });
});

test("a job submitted while the bus is away is answered when it is back", async () => {
  await serve(({ jobId, say, end }) => {
    say(accepted(jobId));
    end();
  });
  await bus.kill();
  const answer = client.submit({ security_level: "P2", prompt: "x" });
  await bus.restart();
  expect(await answer).toMatchObject({ status: "finished" });
});

test("a job larger than the bus takes is refused with its own code", async () => {
  expect(await client.submit({ security_level: "P2", prompt: "x".repeat(9 * 1024 * 1024) })).toMatchObject({
    status: "refused",
    error: { code: "payload_too_large" },
  });
  await expect(client.decide({ security_level: "P2", prompt: "x".repeat(9 * 1024 * 1024) })).rejects.toMatchObject({
    code: "payload_too_large",
  });
});

test("decide without a router throws no_router, and after close bus_unavailable", async () => {
  await expect(client.decide({ task_type: "chat" })).rejects.toMatchObject({ code: "no_router" });
  const gone = await MeshClient.connect(address());
  await gone.close();
  await expect(gone.decide({ task_type: "chat" })).rejects.toMatchObject({ code: "bus_unavailable" });
  expect(await gone.submit({ security_level: "P2", prompt: "x" })).toMatchObject({
    status: "refused",
    error: { code: "bus_unavailable" },
  });
});

test("closing in the middle of an answer ends the stream instead of throwing", async () => {
  await serve(({ jobId, say }) => say(accepted(jobId)));
  const leaving = await MeshClient.connect(address());
  const frames = await read(leaving.stream({ security_level: "P2", prompt: "x" }), () => leaving.close());
  expect(ends(frames)).toHaveLength(1);
});

test("nodes are seen by their heartbeats", async () => {
  const { nodes } = client;
  await client.bus.nc.flush();
  const record = nodeRecord("n1");
  mesh.nc.publish(mesh.subjects.heartbeat("L1", "n1"), encode(record, "shared"), { headers: headersFor("shared") });
  expect(await nodes.ready(() => true)).toEqual(record);
});

test("no bus is bus_unavailable, and the password is in no message", async () => {
  const nowhere = { url: "nats://me:hunter2@127.0.0.1:1", log: silent };
  await expect(MeshClient.connect(nowhere)).rejects.toMatchObject({ code: "bus_unavailable" });
  await expect(MeshClient.connect(nowhere)).rejects.not.toThrow(/hunter2/);
});
