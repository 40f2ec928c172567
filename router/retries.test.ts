import { afterEach, expect, test, vi } from "vitest";
import { JobResult, MeshError } from "../bus-schemas/index.ts";
import { nodeRecord, routerParts } from "../test/kit/router-parts.ts";
import { Dispatcher } from "./dispatcher.ts";
import { Router } from "./router.ts";
import { Tickets } from "./tickets.ts";

const INBOX = "_INBOX.caller.";
const RUN = "mesh.main.job.run";
const ROOMY = { slots: 900, running: 0, queued: 0, queue_limit: 900, pending_prefill_tokens: 0 };
const STOPS = new MeshError("draining", "the node stops").toWire();

afterEach(() => void vi.useRealTimers());

function started(policy: Record<string, unknown> = {}) {
  const kit = routerParts(policy);
  const dispatcher = new Dispatcher(kit.parts);
  new Router(kit.parts, dispatcher, new Tickets(kit.parts, dispatcher)).start();
  dispatcher.start();
  const submit = (id: string, rest: Record<string, unknown> = {}, queue = "chat") => {
    const job = { job_id: `the-job-${id}`, security_level: "P2", prompt: "hello", ...rest };
    kit.bus.deliver(`mesh.main.job.submit.${queue}`, job, { reply: INBOX + id });
  };
  const runs = () => kit.bus.on(RUN);
  const nodes = () => runs().map(({ subject }) => subject.split(".").at(-1) ?? "");
  const say = (type: string, rest: Record<string, unknown> = {}) => {
    const run = runs().at(-1);
    const common = { job_id: run?.headers?.get("Mesh-Job"), node_id: nodes().at(-1), load: ROOMY };
    kit.bus.deliver(run?.reply ?? "", { type, ...common, ...rest });
  };
  const endings = () => kit.bus.on(INBOX).map((answer) => JobResult.parse(answer.json()));
  return { ...kit, submit, runs, nodes, say, endings };
}

test("SEED's defaults: a job is tried at most three times, layer after layer in fallback_order, then ends with the last reason", () => {
  const { join, submit, nodes, say, endings } = started();
  const at = (id: string, layer: "L0" | "L1" | "L2") => nodeRecord(id, { layer, load: ROOMY });
  join(at("cloud", "L2"), at("server", "L1"), at("laptop", "L0"), at("cloud-2", "L2"));
  submit("a");
  for (let i = 0; i < 3; i++) say("refused", { error: STOPS });
  expect(nodes().slice(0, 2)).toEqual(["laptop", "server"]);
  expect(nodes()[2]).toMatch(/^cloud/);
  expect(endings()).toMatchObject([{ status: "refused", attempts: 3, error: { code: "draining" } }]);
});

test("another fallback_order and retry_attempts are followed as they are written", () => {
  const { join, submit, nodes, say, endings } = started({
    defaults: { fallback_order: ["L2", "L0"], retry_attempts: 1 },
  });
  for (const [id, layer] of [
    ["laptop", "L0"],
    ["server", "L1"],
    ["cloud", "L2"],
  ] as const)
    join(nodeRecord(id, { layer, load: ROOMY }));
  submit("a");
  for (let i = 0; i < 2; i++) say("refused", { error: STOPS });
  expect([nodes(), endings().length]).toEqual([["cloud", "laptop"], 1]);
});

test("over the retry budget a job ends with the reason it has; fresh jobs go on", () => {
  const { join, submit, runs, say, endings } = started();
  join(...["a", "b", "c"].map((id) => nodeRecord(id, { load: ROOMY })));
  const tries = () => {
    const before = runs().length;
    submit(`j${before}`);
    while (endings().at(-1)?.job_id !== `the-job-j${before}`) say("refused", { error: STOPS });
    return runs().length - before;
  };
  const perJob = Array.from({ length: 30 }, tries);
  expect(perJob.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => 3));
  expect(perJob.slice(10)).toEqual(Array.from({ length: 20 }, () => 1));
  expect(endings().every(({ error }) => error?.code === "draining")).toBe(true);
});

test("a full node's refusal costs no budget: however many there were, a failure is tried again", () => {
  const { join, submit, runs, say, endings } = started();
  join(...["a", "b", "c"].map((id) => nodeRecord(id, { load: ROOMY })));
  const full = { ...STOPS, code: "all_busy" };
  for (let i = 0; i < 30; i++) {
    submit(`full${i}`);
    while (endings().at(-1)?.job_id !== `the-job-full${i}`) say("refused", { error: full });
  }
  expect(runs()).toHaveLength(90);
  submit("one");
  say("refused", { error: STOPS });
  expect(runs()).toHaveLength(92);
});

test("each queue's own timeout_ms is the deadline of a job that names none; an earlier one of the job counts", () => {
  vi.useFakeTimers();
  const { join, submit, runs } = started();
  join(nodeRecord("n1", { load: ROOMY }));
  submit("c");
  submit("r", {}, "rag");
  submit("m", {}, "media");
  submit("own", { timeout_ms: 700 });
  submit("abs", { deadline_unix_ms: Date.now() + 900, timeout_ms: 5000 });
  const left = runs().map(({ headers }) => Number(headers?.get("Mesh-Deadline")) - Date.now());
  expect(left).toEqual([30_000, 60_000, 600_000, 700, 900]);
});

test("the policy's max_latency_ms is the wanted time of a job that names none, also on record", () => {
  const { join, submit, events } = started({ defaults: { max_latency_ms: 1234 } });
  join(nodeRecord("n1", { load: ROOMY }));
  submit("a");
  submit("b", { max_latency_ms: 99 });
  const wanted = events
    .of("job_decided")
    .map(({ inputs }) => (inputs as { request: { slo_ms: number } }).request.slo_ms);
  expect(wanted).toEqual([1234, 99]);
});

test.each([
  ["a deadline in the past", { deadline_unix_ms: 1_600_000_000_000 }, "chat", "expired", "deadline_exceeded"],
  ["a queue that is not there", {}, "wechat", "refused", "unknown_queue"],
  ["no prompt", { prompt: undefined }, "chat", "refused", "bad_request"],
])("%s is one typed ending, and nothing is sent", (_what, rest, queue, status, code) => {
  const { join, submit, runs, endings } = started();
  join(nodeRecord("n1", { load: ROOMY }));
  submit("a", rest, queue);
  expect(endings()).toMatchObject([{ status, error: { code } }]);
  expect(runs()).toEqual([]);
});
