import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { HEADERS, MeshError, type JobRequestInput, type StreamFrame } from "../bus-schemas/index.ts";
import { FakePort } from "../test/kit/fake-port.ts";
import { streamJob } from "./job-stream.ts";

const JOB = "job-00000001";
const accepted = (node: string) =>
  ({ type: "accepted", job_id: JOB, node_id: node, layer: "L0", model: "tiny", security_level: "P2" }) as const;
const delta = (content: string) => ({ type: "delta", content }) as const;
const END = { type: "end", job_id: JOB, status: "finished" } as const;
const LOST = (node: string) => ({ type: "lost", job_id: JOB, node_id: node, attempts_left: 1 });
const FAILED = {
  ...END,
  status: "failed",
  handed_back: true,
  error: new MeshError("runtime_failed", "the runtime does not answer").toWire(),
};

beforeEach(() => void vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

const tick = () => vi.advanceTimersByTimeAsync(0);

/** A job that n1 has accepted. */
async function running(request: Partial<JobRequestInput> = {}) {
  const port = new FakePort();
  const frames = (async () => {
    const all: StreamFrame[] = [];
    const job = { security_level: "P2", prompt: "hello", ...request };
    for await (const frame of streamJob(port, job, JOB, { queue: "chat" })) all.push(frame);
    return all;
  })();
  await tick();
  port.say([accepted("n1")]);
  await tick();
  return { port, frames, bodyOf: (submit: number) => port.submits[submit - 1]?.body };
}
const text = (frames: StreamFrame[]) =>
  frames.map((frame) => (frame.type === "delta" ? (frame.content ?? "") : "")).join("");
const endOf = (frames: StreamFrame[]) => {
  expect(frames.filter(({ type }) => type === "end")).toHaveLength(1);
  return frames.at(-1);
};

test("lost before the first piece: it begins anew on another node, the old try is ended there, its caller sees one answer", async () => {
  const { port, frames, bodyOf } = await running();
  port.say([LOST("n1")], null);
  await tick();
  expect(port.log).toEqual(["submit 1", "supersede n1", "supersede", "submit 2"]);
  expect(bodyOf(2)).toMatchObject({ prompt: "hello", exclude_nodes: ["n1"] });
  expect(bodyOf(2)).not.toHaveProperty("continue_from");
  expect(port.submits.map(({ headers }) => headers.get(HEADERS.resume))).toEqual(["1", "2"]);
  port.say([accepted("n2"), delta("all of it"), END]);
  const all = await frames;
  expect(text(all)).toBe("all of it");
  expect(endOf(all)).toMatchObject({ status: "finished" });
});

test.each<[string, (port: FakePort) => void | Promise<unknown>]>([
  ["the router says that its node is lost", (port) => port.say([LOST("n1")], null)],
  ["its node hands it back", (port) => port.say([FAILED], 3)],
  ["a piece is missing", (port) => port.say([delta("never seen")], 4)],
  ["a piece comes twice", (port) => port.say([delta("twice")], 2)],
  ["a number is none", (port) => port.say([delta("odd")], Number.NaN)],
  ["nothing comes any more", () => vi.advanceTimersByTimeAsync(3200)],
])(
  "lost in the middle, since %s: it goes on from what is here, with the same model, as one answer",
  async (_, lose) => {
    const { port, frames, bodyOf } = await running({ max_tokens: 50, timeout_ms: 60_000 });
    port.say([delta("one "), delta("two ")], 1);
    await lose(port);
    await tick();
    expect(port.log).toEqual(["submit 1", "supersede n1", "supersede", "submit 2"]);
    expect(bodyOf(2)).toMatchObject({
      continue_from: "one two ",
      model: "tiny",
      max_tokens: 48,
      exclude_nodes: ["n1"],
    });
    expect(bodyOf(2)?.["deadline_unix_ms"]).toBeLessThanOrEqual(Date.now() + 60_000);
    const usage = { prompt_tokens: 12, completion_tokens: 5, estimated: false };
    port.say([accepted("n2"), delta("three"), { ...END, usage }]);
    const all = await frames;
    expect(text(all)).toBe("one two three");
    expect(all.map(({ type }) => type)).toEqual(["accepted", "delta", "delta", "delta", "end"]);
    expect(endOf(all)).toMatchObject({
      status: "finished",
      usage: { prompt_tokens: 10, completion_tokens: 7, estimated: true },
    });
  },
);

test("lost twice: the third node is given all that is here, and no word of it twice", async () => {
  const { port, frames, bodyOf } = await running();
  port.say([delta("one ")], 1);
  port.say([LOST("n1")], null);
  await tick();
  port.say([accepted("n2"), delta("two ")]);
  port.say([LOST("n2")], null);
  await tick();
  expect(bodyOf(3)).toMatchObject({ continue_from: "one two ", exclude_nodes: ["n1", "n2"] });
  port.say([accepted("n3"), delta("three"), END]);
  expect(text(await frames)).toBe("one two three");
});

test("a job that is lost with every node that it is given ends once: as lost, or as interrupted where it had begun", async () => {
  for (const begun of [false, true]) {
    const { port, frames } = await running();
    for (const node of ["n1", "n2", "n3"]) {
      if (node !== "n1") port.say([accepted(node)]);
      if (begun) port.say([delta("x")], 1);
      port.say([LOST(node)], null);
      await tick();
    }
    expect(endOf(await frames)).toMatchObject({
      status: "failed",
      error: { code: begun ? "stream_interrupted" : "node_lost", retryable: true },
    });
    expect(port.submits).toHaveLength(3);
    expect(port.log.at(-1)).toBe("give up");
  }
});

test.each<[string, object, Partial<JobRequestInput>]>([
  ["a tool call", { type: "delta", tool_calls: [{ index: 0 }] }, {}],
  ["reasoning", { type: "delta", reasoning: "hm" }, {}],
  ["JSON", delta("{"), { response_format: { type: "json_object" } }],
])(
  "an answer that is lost in the middle of %s is not gone on with: one stream_interrupted",
  async (_, piece, request) => {
    const { port, frames } = await running(request);
    port.say([piece], 1);
    port.say([LOST("n1")], null);
    expect(endOf(await frames)).toMatchObject({ status: "failed", error: { code: "stream_interrupted" } });
    expect(port.log).toEqual(["submit 1", "give up"]);
  },
);

test("when nobody can go on with an answer, that is one stream_interrupted and says why", async () => {
  const { port, frames } = await running();
  port.say([delta("one ")], 1);
  port.say([LOST("n1")], null);
  await tick();
  const error = new MeshError("no_node", "no node can take this job").toWire();
  port.say([{ ...END, status: "refused", error }], null);
  // A runtime that does not take a begun answer, as llama-server with a model that thinks, is no other case.
  const other = await running();
  other.port.say([delta("one ")], 1);
  other.port.say([LOST("n1")], null);
  await tick();
  const bad = new MeshError("bad_request", "the runtime does not accept these messages").toWire();
  other.port.say([accepted("n2"), { ...END, status: "failed", error: bad }]);
  expect(endOf(await other.frames)).toMatchObject({ status: "failed", error: { code: "stream_interrupted" } });
  expect(endOf(await frames)).toMatchObject({
    status: "failed",
    error: { code: "stream_interrupted", message: expect.stringContaining("no node can take") as string },
  });
});

test("an end that is not handed back is the end, and so is a caller's own cancel after a loss", async () => {
  const last = await running();
  last.port.say([{ ...FAILED, handed_back: false }], 1);
  expect(endOf(await last.frames)).toMatchObject({ error: { code: "runtime_failed" } });
  expect(last.port.log).toEqual(["submit 1"]);
});

test("a node cannot say that another is lost: with a number it is no notice", async () => {
  const { port, frames } = await running();
  port.say([LOST("n1")], 1);
  expect(endOf(await frames)).toMatchObject({ error: { code: "stream_interrupted" } });
  expect(port.submits).toHaveLength(1);
});
