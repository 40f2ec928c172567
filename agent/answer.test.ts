import type { Msg } from "@nats-io/nats-core";
import { afterEach, expect, test, vi } from "vitest";
import { HEADERS, StreamFrame, type StreamFrame as Frame } from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import { contentType, decode, type Encoding } from "../service/codec.ts";
import { headersFor } from "../service/messages.ts";
import { FrameKey } from "../service/sealing/index.ts";
import { INBOX } from "../test/kit/agent-parts.ts";
import { FakeBus } from "../test/kit/router-parts.ts";
import { Answer } from "./answer.ts";

afterEach(() => vi.useRealTimers());

const FINISHED = { job_id: "job-00000001", status: "finished" } as const;
const ACCEPTED = {
  type: "accepted",
  job_id: "job-00000001",
  node_id: "n1",
  layer: "L0",
  model: "tiny",
  security_level: "P2",
  diagnostic: false,
  decision_id: null,
  cold_start_ms: null,
} as const;

function setup(stream: boolean, encoding: Encoding = "json") {
  const bus = new FakeBus();
  const msg = { headers: headersFor(encoding) } as Msg;
  const answer = new Answer(bus as unknown as Bus, msg, INBOX, stream);
  const sent = () =>
    bus.on(INBOX).map(({ data, headers }) => ({
      seq: headers?.get(HEADERS.seq),
      type: headers?.get(HEADERS.contentType),
      frame: StreamFrame.parse(decode(data, headers?.get(HEADERS.contentType))),
    }));
  return { bus, answer, sent, frames: () => sent().map(({ frame }) => frame) };
}

test("a stream's frames are numbered from 0 without holes and in the caller's encoding", () => {
  for (const encoding of ["json", "msgpack", "shared"] as const) {
    const { answer, sent } = setup(true, encoding);
    answer.accepted(ACCEPTED);
    for (const content of ["a", "b"]) expect(answer.delta({ type: "delta", content })).toBe(true);
    answer.end(FINISHED);
    expect(sent().map(({ seq, frame }) => [seq, frame.type])).toEqual([
      ["0", "accepted"],
      ["1", "delta"],
      ["2", "delta"],
      ["3", "end"],
    ]);
    expect(new Set(sent().map(({ type }) => type))).toEqual(new Set([contentType(encoding)]));
  }
});

test("a sealed stream gathers the text of one turn and keeps the order of everything", async () => {
  const bus = new FakeBus();
  const key = new FrameKey(new Uint8Array(32), FINISHED.job_id);
  const answer = new Answer(bus as unknown as Bus, { headers: headersFor("json") } as Msg, INBOX, true, key);
  const frames = () =>
    bus.on(INBOX).map(({ data, headers }, seq) => {
      expect(headers?.get(HEADERS.seq)).toBe(String(seq));
      expect(data.length % 256).toBe(16);
      return StreamFrame.parse(decode(key.open(seq, data), undefined));
    });
  answer.accepted(ACCEPTED);
  for (const content of ["a", "b"]) answer.delta({ type: "delta", content });
  answer.delta({ type: "delta", reasoning: "hm" });
  answer.delta({ type: "delta", content: "c" });
  await new Promise(setImmediate);
  for (const content of ["d", "e"]) answer.delta({ type: "delta", content });
  answer.end(FINISHED);
  answer.delta({ type: "delta", content: "late" });
  await new Promise(setImmediate);
  expect(frames().slice(1, -1)).toEqual([
    { type: "delta", content: "ab" },
    { type: "delta", reasoning: "hm" },
    { type: "delta", content: "c" },
    { type: "delta", content: "de" },
  ]);
  expect(frames().at(-1)).toMatchObject({ type: "end", status: "finished" });
});

test("nothing is said after the one end, nor after falling silent", () => {
  vi.useFakeTimers();
  const { answer, frames } = setup(true);
  answer.end(FINISHED);
  answer.end({ ...FINISHED, status: "failed" });
  answer.delta({ type: "delta", content: "late" });
  vi.advanceTimersByTime(5000);
  expect(frames()).toMatchObject([{ type: "end", status: "finished" }]);

  const silent = setup(true);
  silent.answer.close();
  silent.answer.end(FINISHED);
  vi.advanceTimersByTime(5000);
  expect(silent.frames()).toEqual([]);
});

test("in each silence of a second a working frame says whether the job still waits", () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
  const { answer, frames } = setup(true);
  answer.accepted(ACCEPTED);
  vi.advanceTimersByTime(2000);
  answer.queued = false;
  vi.advanceTimersByTime(1000);
  expect(frames().slice(1)).toEqual([
    { type: "working", queued: true },
    { type: "working", queued: true },
    { type: "working", queued: false },
  ]);
  // Somebody who talks does not say that he works.
  for (let i = 0; i < 10; i++) {
    vi.advanceTimersByTime(500);
    answer.delta({ type: "delta", content: "x" });
  }
  expect(frames().filter(({ type }) => type === "working")).toHaveLength(3);
});

test("without a stream there is one message with the whole answer and no number", () => {
  vi.useFakeTimers();
  const { answer, sent } = setup(false);
  answer.accepted(ACCEPTED);
  answer.delta({ type: "delta", content: "Hel" });
  answer.delta({ type: "delta", reasoning: "hidden" });
  vi.advanceTimersByTime(5000);
  answer.delta({ type: "delta", content: "lo" });
  answer.end(FINISHED);
  expect(sent()).toHaveLength(1);
  expect(sent()[0]).toMatchObject({ frame: { status: "finished", message: { role: "assistant", content: "Hello" } } });
  expect(sent()[0]?.seq ?? "").toBe("");
});

test("the pieces of tool calls are joined; an answer of calls alone has no content", () => {
  const { answer, frames } = setup(false);
  const call = (rest: object) => answer.delta({ type: "delta", tool_calls: [{ index: 0, ...rest }] });
  call({ id: "c1", type: "function", function: { name: "look", arguments: '{"a"' } });
  call({ function: { arguments: ":1}" } });
  answer.end(FINISHED);
  expect(frames()).toMatchObject([
    {
      message: {
        content: null,
        tool_calls: [{ id: "c1", type: "function", function: { name: "look", arguments: '{"a":1}' } }],
      },
    },
  ]);
});

test("an answer that did not finish carries no half message", () => {
  const { answer, frames } = setup(false);
  answer.delta({ type: "delta", content: "half" });
  answer.end({ ...FINISHED, status: "cancelled" });
  expect(frames()).toMatchObject([{ status: "cancelled", message: null }]);
});

test("size is counted in bytes as they travel: Chinese text and tool calls too", () => {
  const mega = "字".repeat(1024 * 1024);
  const { answer } = setup(false);
  expect(answer.delta({ type: "delta", content: mega })).toBe(true);
  expect(answer.delta({ type: "delta", content: mega })).toBe(false);
  const calls = setup(false).answer;
  const big = { type: "delta", tool_calls: [{ index: 0, function: { arguments: "x".repeat(5_000_000) } }] } as const;
  expect(calls.delta({ ...big, tool_calls: [...big.tool_calls] })).toBe(false);
});

test("an answer that the bus does not take ends as payload_too_large, told once and returned", () => {
  const { bus, answer, frames } = setup(false);
  bus.maxBytes = 1000;
  answer.delta({ type: "delta", content: "x".repeat(2000) });
  const told = answer.end({ ...FINISHED, finish_reason: "stop" });
  expect(told).toMatchObject({ status: "failed", message: null, finish_reason: null });
  expect(frames() as Frame[]).toEqual([told]);
  expect(frames()).toMatchObject([{ error: { code: "payload_too_large" } }]);
});

test("a piece that the bus does not take leaves no hole in the numbers", () => {
  const { bus, answer, sent } = setup(true);
  bus.maxBytes = 1000;
  answer.accepted(ACCEPTED);
  expect(answer.delta({ type: "delta", content: "x".repeat(2000) })).toBe(false);
  answer.end({ ...FINISHED, status: "failed" });
  expect(sent().map(({ seq }) => seq)).toEqual(["0", "1"]);
});

test("a closed bus is no error: there is nobody to tell", () => {
  const { bus, answer } = setup(true);
  bus.nc.isClosed = () => true;
  bus.nc.publish = () => {
    throw new Error("closed");
  };
  expect(answer.delta({ type: "delta", content: "x" })).toBe(true);
  expect(answer.end(FINISHED).status).toBe("finished");
});

test("an answer that is no text has no message, and is told how to be smaller when the bus does not take it", () => {
  const output = { task: "embedding" as const, embeddings: ["AACAPw=="] };
  for (const stream of [false, true]) {
    const { answer, frames } = setup(stream);
    answer.end({ ...FINISHED, output });
    expect(frames().at(-1)).toMatchObject({ message: null, output });
    const small = setup(stream);
    small.bus.maxBytes = 600;
    small.answer.end({ ...FINISHED, output: { ...output, embeddings: Array.from({ length: 200 }, () => "AACAPw==") } });
    expect(small.frames().at(-1)).toMatchObject({
      status: "failed",
      output: null,
      error: { code: "payload_too_large", message: expect.stringContaining("fewer texts") },
    });
  }
});
