import { afterEach, expect, test, vi } from "vitest";
import { HEADERS, MeshError, StreamFrame, Verdict } from "../bus-schemas/index.ts";
import { SHARED_CONTENT_TYPE } from "../service/codec.ts";
import { agentParts, runtimeState } from "../test/kit/agent-parts.ts";

afterEach(() => vi.useRealTimers());

test("a good job is accepted to its router with the load, and to its caller with who runs it", () => {
  const { submit, verdicts, frames, work } = agentParts({ slots: 2 });
  submit({ messages: [{ role: "user", content: "hello" }], stream: true, max_tokens: 5, session_id: "s" });
  expect(verdicts()).toMatchObject([
    { type: "accepted", job_id: "job-00000001", node_id: "n1", load: { slots: 2, running: 1 } },
  ]);
  expect(frames()).toMatchObject([
    { type: "accepted", node_id: "n1", model: "tiny", security_level: "P2", decision_id: "01DECISION" },
  ]);
  expect(work.runs).toMatchObject([
    { runtime: "ollama", job: { model: "tiny", parameters: { max_tokens: 5 }, messages: [{ content: "hello" }] } },
  ]);
  for (const frame of frames()) expect(StreamFrame.parse(frame)).toEqual(frame);
  for (const verdict of verdicts()) expect(Verdict.parse(verdict)).toEqual(verdict);
});

test("a prompt is one user message, and a foreign caller's JSON is answered as JSON", () => {
  const { submit, work, bus } = agentParts();
  submit({ prompt: "hello" });
  expect(work.runs[0]?.job.messages).toEqual([{ role: "user", content: "hello" }]);
  work.runs[0]?.say("hi");
  work.runs[0]?.done();
  expect(bus.on("_INBOX")[0]?.json()).toMatchObject({ status: "finished", message: { content: "hi" }, attempts: 1 });
});

test.each([
  ["no inbox", { [HEADERS.reply]: undefined }, HEADERS.reply],
  ["an inbox that is a subject of the mesh", { [HEADERS.reply]: "mesh.main.node.control.n1" }, HEADERS.reply],
  ["an inbox with a wildcard", { [HEADERS.reply]: "_INBOX.>" }, HEADERS.reply],
  ["no model", { [HEADERS.model]: undefined }, HEADERS.model],
  ["no deadline", { [HEADERS.deadline]: undefined }, HEADERS.deadline],
  ["a deadline in words", { [HEADERS.deadline]: "soon" }, HEADERS.deadline],
  ["an endless deadline", { [HEADERS.deadline]: "Infinity" }, HEADERS.deadline],
  ["an unknown class", { [HEADERS.dataClass]: "p0" }, HEADERS.dataClass],
  ["a negative attempt", { [HEADERS.attempt]: "-1" }, HEADERS.attempt],
  ["half an attempt", { [HEADERS.attempt]: "1.5" }, HEADERS.attempt],
  ["a decision id without end", { [HEADERS.decision]: "x".repeat(65) }, HEADERS.decision],
  ["an unknown Content-Type", { [HEADERS.contentType]: "text/html" }, "Content-Type"],
])("%s is refused by name, and the node stays up", (_, headers, field) => {
  const parts = agentParts();
  parts.submit(undefined, headers);
  expect(parts.verdicts()).toMatchObject([
    { type: "refused", job_id: "job-00000001", load: { running: 0 }, error: { code: "bad_request", field } },
  ]);
  expect(parts.rejected).toMatchObject([{ kind: "run", error: { field } }]);
  expect(parts.bus.on("_INBOX")).toEqual([]);
  parts.submit();
  expect(parts.work.runs).toHaveLength(1);
});

test.each([
  ["no job id", undefined],
  ["an id with a dot", "job.00000001"],
  ["a short id", "abc"],
])("with %s there is nobody to answer: counted, not taken", (_, jobId) => {
  const parts = agentParts();
  parts.submit(undefined, { [HEADERS.job]: jobId });
  expect(parts.rejected).toMatchObject([{ kind: "run", error: { code: "bad_request", field: HEADERS.job } }]);
  expect(parts.bus.sent).toEqual([]);
});

test.each([
  ["garbage bytes", new Uint8Array([0xff, 0xfe, 0]), undefined],
  ["a truncated body", new TextEncoder().encode('{"prompt":"he'), undefined],
  ["a wrong type", { messages: "hello" }, "messages"],
  ["a wrong role", { messages: [{ role: "boss", content: "x" }] }, "messages[0].role"],
  ["neither messages nor prompt", { stream: true }, "messages"],
  ["a temperature of the sun", { prompt: "x", temperature: 5778 }, "temperature"],
])("%s in the body is refused and never quoted", (_, body, field) => {
  const parts = agentParts();
  parts.submit(body);
  const [verdict] = parts.verdicts();
  expect(verdict).toMatchObject({ type: "refused", error: { code: "bad_request" } });
  expect(verdict?.type === "refused" ? verdict.error.field : null).toBe(field);
  expect(parts.work.runs).toEqual([]);
});

test("garbage that calls itself our own msgpack is refused", () => {
  const parts = agentParts();
  parts.submit(new Uint8Array([0xc1, 0xff, 0x00]), { [HEADERS.contentType]: SHARED_CONTENT_TYPE });
  expect(parts.verdicts()).toMatchObject([{ type: "refused", error: { code: "bad_request" } }]);
});

test("the same job id does not run twice at once, but may run again later", () => {
  const parts = agentParts({ slots: 2 });
  parts.submit();
  parts.submit();
  expect(parts.verdicts()).toMatchObject([{ type: "accepted" }, { type: "refused", error: { code: "all_busy" } }]);
  expect(parts.work.runs).toHaveLength(1);
  parts.work.runs[0]?.done();
  parts.submit();
  expect(parts.work.runs).toHaveLength(2);
});

test("a full node refuses with its fresh load", () => {
  const parts = agentParts();
  for (let i = 0; i < 6; i++) parts.submit(undefined, { [HEADERS.job]: `job-0000000${i}` });
  expect(parts.verdicts().at(-1)).toMatchObject({
    type: "refused",
    error: { code: "all_busy" },
    load: { slots: 1, running: 1, queued: 4, queue_limit: 4 },
  });
});

test("a job for a model of which the runtime went away while it waited ends with one clear error", () => {
  const parts = agentParts();
  parts.submit();
  parts.submit({ prompt: "second", stream: true }, { [HEADERS.job]: "job-00000002", [HEADERS.reply]: "_INBOX.second" });
  parts.desk.update([runtimeState("other", ["big"])]);
  expect(parts.frames("_INBOX.second").filter(({ type }) => type === "end")).toMatchObject([
    { status: "failed", error: { code: "runtime_failed", retryable: true } },
  ]);
  expect(parts.intake.jobs.size).toBe(1);
});

test("the class walls stand at the intake too: P0 in the body of a P2 job is refused", () => {
  const parts = agentParts();
  parts.submit({ prompt: "x", security_level: "P0" });
  expect(parts.verdicts()).toMatchObject([{ type: "refused", error: { code: "forbidden" } }]);
});

test.each(["p0", "\u04200", "PO", "P0;P2", "P\u200b0"])(
  "%j in the body of a P2 job is refused: it may be meant as P0",
  (level) => {
    const parts = agentParts();
    parts.submit({ prompt: "x", security_level: level });
    expect(parts.verdicts()).toMatchObject([{ type: "refused", error: { code: "forbidden" } }]);
    expect(parts.rejected).toMatchObject([{ kind: "run", error: { code: "forbidden" } }]);
    expect(parts.work.runs).toEqual([]);
    // Where it came as what it looks like, it is taken.
    parts.submit({ prompt: "x", security_level: level }, { [HEADERS.dataClass]: "P0" }, "P0");
    expect(parts.work.runs).toHaveLength(1);
  },
);

test.each(["P 0", "garbage", "P2,P2"])("the header %j on a job of whatever class is refused", (said) => {
  const parts = agentParts();
  for (const dataClass of ["P0", "P1", "P2"] as const)
    parts.submit(undefined, { [HEADERS.dataClass]: said }, dataClass);
  const refused = { kind: "run", error: { code: "bad_request", field: HEADERS.dataClass } };
  expect(parts.rejected).toMatchObject([refused, refused, refused]);
  expect(parts.work.runs).toEqual([]);
});

test("an egress node does not even listen on P0 and P1", () => {
  const parts = agentParts({ layer: "L2" });
  parts.submit(undefined, { [HEADERS.dataClass]: "P0" }, "P0");
  parts.submit(undefined, { [HEADERS.dataClass]: "P1" }, "P1");
  expect(parts.bus.sent).toEqual([]);
  parts.submit();
  expect(parts.verdicts()).toMatchObject([{ type: "accepted" }]);
});

test.each([
  ["P0 in the body, P2 in header and subject", { security_level: "P0" }, {}, "forbidden"],
  ["P1 in the body, P2 in header and subject", { security_level: "P1" }, {}, "anonymiser_required"],
  ["P0 in the header, P2 in body and subject", { security_level: "P2" }, { [HEADERS.dataClass]: "P0" }, "forbidden"],
  ["P1 in the header alone", {}, { [HEADERS.dataClass]: "P1" }, "anonymiser_required"],
  ["P0 in the body, P1 in the header", { security_level: "P0" }, { [HEADERS.dataClass]: "P1" }, "forbidden"],
  ["a class in lower case", { security_level: "p0" }, {}, "forbidden"],
  ["a class with a space", { security_level: "P0 " }, {}, "forbidden"],
  ["a class in full-width letters", { security_level: "\uff30\uff10" }, {}, "forbidden"],
  ["a class with a zero-width joiner", { security_level: "P\u200d0" }, {}, "forbidden"],
])("an egress node counts the strictest word, and %s is refused and told of", (_, body, headers, code) => {
  const parts = agentParts({ layer: "L2" });
  parts.submit({ prompt: "secret", ...body }, headers);
  expect(parts.verdicts()).toMatchObject([{ type: "refused", error: { code, field: "security_level" } }]);
  expect(parts.rejected).toMatchObject([{ kind: "run", error: { code } }]);
  expect(parts.work.runs).toEqual([]);
});

test("what a run cost goes into its ending's record", () => {
  const parts = agentParts({ layer: "L2" });
  parts.submit();
  const usage = { prompt_tokens: 3, completion_tokens: 2, estimated: false };
  const cost = { amount: 0.0125, currency: "USD" };
  parts.work.runs[0]?.chunk({ type: "done", finishReason: "stop", usage, cost });
  expect(parts.ended).toMatchObject([{ event: { usage, cost } }]);
  parts.submit();
  parts.work.runs[1]?.done();
  expect(parts.ended[1]?.event).not.toHaveProperty("cost");
});

test("a cancel ends its own job only; one for nobody, with garbage or with null, harms nothing", () => {
  const parts = agentParts({ slots: 2 });
  parts.submit();
  parts.submit(undefined, { [HEADERS.job]: "job-00000002" });
  parts.bus.deliver(parts.bus.subjects.cancel("job-of-nobody"), undefined);
  expect(parts.ended).toEqual([]);
  parts.bus.deliver(parts.bus.subjects.cancel("job-00000002"), new Uint8Array([0xff]));
  expect(parts.ended).toMatchObject([{ status: "cancelled", superseded: false, event: { job_id: "job-00000002" } }]);
  parts.bus.deliver(parts.bus.subjects.cancel("job-00000001"), null);
  expect(parts.ended).toHaveLength(2);
});

test("draining waits for running jobs", async () => {
  const parts = agentParts();
  await parts.intake.drain(60_000);
  parts.submit();
  const drained = parts.intake.drain(60_000);
  parts.work.runs[0]?.done();
  await drained;
  expect(parts.ended).toMatchObject([{ status: "finished" }]);
});

test("at the limit of a drain what is left fails with one clear error", async () => {
  vi.useFakeTimers();
  const parts = agentParts();
  parts.submit();
  parts.submit({ prompt: "b", stream: true }, { [HEADERS.job]: "job-00000002" });
  const drained = parts.intake.drain(1000);
  await vi.advanceTimersByTimeAsync(1000);
  await drained;
  expect(parts.ended.map(({ status, event }) => [status, event.error?.code])).toEqual([
    ["failed", "draining"],
    ["failed", "draining"],
  ]);
  expect(parts.work.runs[0]?.cancelled).toBe(true);
});

test("a node that takes no jobs says why", () => {
  const parts = agentParts();
  parts.stance.closedBecause = "the node is draining";
  parts.submit();
  expect(parts.verdicts()).toMatchObject([
    { type: "refused", error: { code: "draining", message: "the node is draining", retryable: true } },
  ]);
});

test("an ending that cannot be recorded is still told", () => {
  const parts = agentParts();
  parts.submit();
  parts.events.failure = new MeshError("audit_unavailable", "full");
  parts.work.runs[0]?.done();
  expect(parts.frames().at(-1)).toMatchObject({ type: "end", status: "finished" });
  expect(parts.intake.jobs.size).toBe(0);
});
