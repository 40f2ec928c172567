import { afterEach, expect, test, vi } from "vitest";
import { JobResult, MeshError, type DataClass } from "../bus-schemas/index.ts";
import { UNSEALED, nodeRecord, routerParts } from "../test/kit/router-parts.ts";
import { Dispatcher } from "./dispatcher.ts";
import { Router } from "./router.ts";
import { Tickets } from "./tickets.ts";

const INBOX = "_INBOX.caller.1";
const RUN = "mesh.main.job.run";
const CANCEL = "mesh.main.job.cancel.job-00001";
const LOAD = { slots: 2, running: 1, queued: 0, queue_limit: 2, pending_prefill_tokens: 0 };
const BROKEN = new MeshError("runtime_failed", "the runtime does not answer").toWire();

afterEach(() => void vi.useRealTimers());

/** A router with these nodes, to which one job was submitted. */
async function dispatched({
  level = "P2" as DataClass,
  nodes = ["a", "b", "c"],
  stream = false,
  headers = {} as Record<string, string>,
  policy = {} as Record<string, unknown>,
} = {}) {
  const kit = routerParts(policy);
  const dispatcher = new Dispatcher(kit.parts);
  new Router(kit.parts, dispatcher, new Tickets(kit.parts, dispatcher)).start();
  dispatcher.start();
  kit.fleet.start(kit.parts.bus, kit.parts.rejections);
  kit.join(...nodes.map((id) => nodeRecord(id)));
  const job = { job_id: "job-00001", security_level: level, prompt: "hello", stream };
  kit.bus.deliver("mesh.main.job.submit.chat", job, { reply: INBOX, headers });
  await kit.bus.next(RUN);
  const nodeOf = (subject: string) => subject.slice(subject.lastIndexOf(".") + 1);
  const last = () => {
    const run = kit.bus.on(RUN).at(-1);
    if (run === undefined) throw new Error("nothing dispatched");
    return run;
  };
  const holder = () => nodeOf(last().subject);
  const verdict = (type: string, rest: Record<string, unknown> = {}) =>
    kit.bus.deliver(last().reply ?? "", { type, job_id: "job-00001", node_id: holder(), load: LOAD, ...rest });
  const gone = (node: string) => kit.bus.deliver(`mesh.main.node.gone.${node}`, { node_id: node });
  return {
    ...kit,
    dispatcher,
    verdict,
    gone,
    holder,
    last,
    asked: () => kit.bus.on(RUN).map(({ subject }) => nodeOf(subject)),
    said: () => kit.bus.on(INBOX).map((answer) => answer.json()),
    cancels: () => kit.bus.on(CANCEL).map((cancel) => cancel.json()),
  };
}
const STREAM = { stream: true, headers: { "Mesh-Resume": "1" } };

test("a node lost with a whole answer: the next one is asked, the old one is told to stop, its caller notices nothing", async () => {
  const { verdict, gone, holder, asked, said, cancels, events, last } = await dispatched();
  expect(last().headers?.get("Mesh-Hand-Back")).toBe("router");
  verdict("accepted");
  const lost = holder();
  gone(lost);
  expect(asked()).toHaveLength(2);
  expect(asked()[1]).not.toBe(lost);
  expect([said(), events.of("job_ended")]).toEqual([[], []]);
  expect(cancels()).toEqual([{ superseded: true, node_id: lost, by_router: true }]);
  expect(events.of("job_redispatched")).toMatchObject([
    { from_node_id: lost, to_node_id: holder(), error: { code: "node_lost" }, decision: { outcome: "routed" } },
  ]);
});

test("a node lost before its word on a job: the next one is asked at once, not after the accept limit", async () => {
  for (const options of [{}, STREAM]) {
    const { gone, holder, asked, said } = await dispatched(options);
    gone(holder());
    expect([asked().length, said()]).toEqual([2, []]);
  }
});

test("a class that went sealed or stayed home does so at the next hop too", async () => {
  const { verdict, gone, asked, join, said } = await dispatched({ level: "P0", nodes: ["a"], policy: UNSEALED });
  join(nodeRecord("cloud", { layer: "L2" }));
  verdict("accepted");
  gone("a");
  await Promise.resolve();
  expect(asked()).toEqual(["a"]);
  expect(said()).toMatchObject([{ status: "failed", node_id: "a", error: { code: "node_lost" } }]);
});

test("a node that comes back hears which of its jobs went on elsewhere; one that starts anew has none", async () => {
  const back = await dispatched();
  back.verdict("accepted");
  const lost = back.holder();
  back.gone(lost);
  back.join(nodeRecord(lost, { seq: 1 }));
  expect(back.cancels()).toEqual([1, 2].map(() => ({ superseded: true, node_id: lost, by_router: true })));
  const anew = await dispatched();
  anew.verdict("accepted");
  const restarted = anew.holder();
  anew.gone(restarted);
  anew.join(nodeRecord(restarted, { boot_id: "boot-2" }));
  expect(anew.cancels()).toHaveLength(1);
});

test("a router's word to nodes is none to routers: the job that went on is not given up by it", async () => {
  const { bus, dispatcher, gone, verdict, holder } = await dispatched();
  verdict("accepted");
  gone(holder());
  bus.deliver(CANCEL, { superseded: true, node_id: holder(), by_router: true });
  expect(dispatcher.inFlight.waiting).toBe(1);
});

test("of a stream whose caller goes on, the caller is told; nothing is ended or recorded as ended but the hop", async () => {
  const { verdict, gone, holder, asked, said, events, last } = await dispatched(STREAM);
  expect(last().headers?.get("Mesh-Hand-Back")).toBe("caller");
  verdict("accepted");
  const lost = holder();
  gone(lost);
  expect(asked()).toHaveLength(1);
  expect(said()).toEqual([{ type: "lost", job_id: "job-00001", node_id: lost, attempts_left: 2 }]);
  expect(events.of("job_ended")).toEqual([]);
  expect(events.of("job_redispatched")).toMatchObject([{ from_node_id: lost, to_node_id: null }]);
});

test("of a stream by hand, and of one that has no try left, the loss is the one clear end", async () => {
  const none = { defaults: { retry_attempts: 0 } };
  for (const options of [{ stream: true }, { ...STREAM, policy: none }, { policy: none }]) {
    const { verdict, gone, holder, said, events, last } = await dispatched(options);
    expect(last().headers?.has("Mesh-Hand-Back") === true && !("policy" in options)).toBe(false);
    verdict("accepted");
    const lost = holder();
    gone(lost);
    expect(said().map((end) => JobResult.parse(end))).toMatchObject([
      { status: "failed", node_id: lost, error: { code: "node_lost" } },
    ]);
    expect(events.of("job_ended")).toHaveLength(1);
  }
});

test("the try that a caller names counts: the policy's limit holds over all of them, and a number that is none is refused", async () => {
  const second = await dispatched({ ...STREAM, headers: { "Mesh-Resume": "3" } });
  second.verdict("accepted");
  second.gone(second.holder());
  expect(second.said()).toMatchObject([{ type: "end", status: "failed", attempts: 3, error: { code: "node_lost" } }]);
  const { bus } = second;
  for (const [said, code] of [
    ["4", "node_lost"],
    ["0", "bad_request"],
    ["x", "bad_request"],
  ] as const) {
    const before = second.said().length;
    bus.deliver("mesh.main.job.submit.chat", { prompt: "x" }, { reply: INBOX, headers: { "Mesh-Resume": said } });
    expect(second.said().slice(before)).toMatchObject([{ status: "refused", error: { code } }]);
  }
});

test("the ending of a job that its caller took over is recorded once, here only where no next try has it", async () => {
  vi.useFakeTimers();
  for (const [word, status, code] of [
    [{ superseded: true, node_id: "a" }, undefined, undefined],
    [{ gave_up: true }, "failed", "stream_interrupted"],
    [{}, "cancelled", "cancelled"],
    [undefined, "failed", "node_lost"],
  ] as const) {
    const { bus, dispatcher, verdict, gone, events, said } = await dispatched({ ...STREAM, nodes: ["a", "b"] });
    verdict("accepted");
    gone("a");
    gone("b");
    if (word !== undefined) bus.deliver(CANCEL, word);
    for (let i = 0; i < 2; i++) {
      vi.advanceTimersByTime(31_000);
      dispatcher.sweep();
    }
    expect(events.of("job_ended")).toMatchObject(status === undefined ? [] : [{ status, error: { code } }]);
    // The caller was told of the loss, and of nothing else.
    expect(said()).toHaveLength(1);
  }
});

test("a whole answer that its node hands back is asked for again; a node that keeps failing is spared", async () => {
  const { verdict, asked, said, events } = await dispatched();
  verdict("accepted");
  verdict("ended", { status: "failed", timing: null, error: BROKEN, handed_back: true });
  expect(asked()).toHaveLength(2);
  verdict("accepted");
  verdict("ended", { status: "failed", timing: null, error: BROKEN, handed_back: true });
  verdict("accepted");
  verdict("ended", { status: "failed", timing: null, error: BROKEN, handed_back: false });
  expect([asked().length, said(), events.of("job_ended")]).toEqual([3, [], []]);
});

test("a stream that its node hands back is its caller's: nothing is told or sent from here", async () => {
  const { verdict, asked, said, events, dispatcher } = await dispatched(STREAM);
  verdict("accepted");
  verdict("ended", { status: "failed", timing: null, error: BROKEN, handed_back: true });
  expect([asked().length, said(), events.of("job_ended")]).toEqual([1, [], []]);
  expect(events.of("job_redispatched")).toMatchObject([{ to_node_id: null, error: { code: "runtime_failed" } }]);
  expect(dispatcher.inFlight).toEqual({ waiting: 0, running: 0 });
});

test("nothing that is said on the subject of lost connections but the keeper's own word loses a node", async () => {
  const { bus, fleet, rejected } = await dispatched();
  for (const body of [{ node_id: "b" }, {}, new Uint8Array([0xff]), { node_id: 7 }])
    bus.deliver("mesh.main.node.gone.a", body);
  expect(fleet.fleet.view("a")?.gone).toBe(false);
  expect(rejected.map(({ kind }) => kind)).toEqual(["node_gone", "node_gone", "node_gone", "node_gone"]);
});

test("a node that is silent for too long is told that it does not have the job: it may take it yet", async () => {
  vi.useFakeTimers();
  const { cancels, dispatcher, holder, asked } = await dispatched();
  const silent = holder();
  for (let i = 0; i < 6; i++) {
    vi.advanceTimersByTime(50);
    dispatcher.sweep();
  }
  expect(asked()).toHaveLength(2);
  expect(cancels()).toEqual([{ superseded: true, node_id: silent, by_router: true }]);
});

const FULL = { load: { slots: 1, running: 1, queued: 0, queue_limit: 0 } };

test("a whole answer that is lost while every other node is full waits in line, goes to the first free place, and a cancel ends it there", async () => {
  for (const cancelled of [false, true]) {
    const { bus, dispatcher, verdict, gone, holder, join, asked, events, said } = await dispatched({ nodes: ["a"] });
    join(nodeRecord("b", FULL));
    verdict("accepted");
    gone(holder());
    expect([asked().length, dispatcher.line.size, said()]).toEqual([1, 1, []]);
    if (cancelled) bus.deliver(CANCEL, undefined);
    join(nodeRecord("b", { seq: 1 }));
    await Promise.resolve();
    expect(asked()).toEqual(cancelled ? ["a"] : ["a", "b"]);
    expect(events.of("job_ended")).toMatchObject(cancelled ? [{ status: "cancelled", node_id: "a" }] : []);
    expect(dispatcher.line.size).toBe(0);
  }
});

test("tries that callers ask for count against the router's retry budget", async () => {
  const { bus, said } = await dispatched({ nodes: ["a"] });
  const again = (i: number) =>
    bus.deliver(
      "mesh.main.job.submit.chat",
      { job_id: `job-again-${i}`, prompt: "x", security_level: "P2", stream: true },
      { reply: INBOX, headers: { "Mesh-Attempt": "2", "Mesh-Resume": "2" } },
    );
  for (let i = 0; i < 20; i++) again(i);
  expect(said()).toEqual([]);
  again(20);
  expect(said()).toMatchObject([{ status: "refused", attempts: 2, error: { code: "rate_limited" } }]);
});

test("while a job is between two tries its id is taken, and the try that its caller asks for is no other job", async () => {
  const { bus, verdict, gone, holder, asked, said } = await dispatched(STREAM);
  verdict("accepted");
  const lost = holder();
  gone(lost);
  const submit = (headers: Record<string, string>, prompt: string) =>
    bus.deliver(
      "mesh.main.job.submit.chat",
      { job_id: "job-00001", security_level: "P2", prompt, stream: true },
      { reply: "_INBOX.caller.2", headers },
    );
  submit({}, "another");
  expect(bus.on("_INBOX.caller.2").map((answer) => answer.json())).toMatchObject([{ error: { code: "conflict" } }]);
  bus.deliver(CANCEL, { superseded: true, node_id: lost });
  submit({ "Mesh-Attempt": "2", "Mesh-Resume": "2" }, "hello");
  expect(asked()).toHaveLength(2);
  expect(said()).toHaveLength(1);
});

test("a node whose owner takes it back has not failed: its jobs move on, and it is used again as before", async () => {
  const taken = new MeshError("draining", "its user is active").toWire();
  for (const [error, failed] of [
    [taken, 0],
    [BROKEN, 1],
  ] as const) {
    const { fleet, verdict, asked } = await dispatched();
    const blamed = vi.spyOn(fleet, "onFailed");
    verdict("accepted");
    verdict("ended", { status: "failed", timing: null, error, handed_back: true });
    await vi.waitFor(() => expect(asked()).toHaveLength(2));
    expect(blamed).toHaveBeenCalledTimes(failed);
    expect(asked()[1]).not.toBe(asked()[0]);
  }
});
