import { afterEach, expect, test, vi } from "vitest";
import { JobResult, MeshError, type DataClass } from "../bus-schemas/index.ts";
import { UNSEALED, nodeRecord, routerParts } from "../test/kit/router-parts.ts";
import { ACCEPT_LIMIT_MS, Dispatcher } from "./dispatcher.ts";
import { Router } from "./router.ts";
import { Tickets } from "./tickets.ts";

const INBOX = "_INBOX.caller.1";
const RUN = "mesh.main.job.run";
/** Time between two sweeps, milliseconds. */
const SWEEP_MS = 50;
const LOAD = { slots: 2, running: 1, queued: 0, queue_limit: 2, pending_prefill_tokens: 0 };
const BUSY = new MeshError("all_busy", "full", { retryAfterMs: 500 }).toWire();

afterEach(() => void vi.useRealTimers());

/** A router with nodes `a`, `b` and `c` of one model, to which one job was submitted. */
async function dispatched(level: DataClass = "P2", nodes = ["a", "b", "c"], policy: Record<string, unknown> = {}) {
  const kit = routerParts(policy);
  const dispatcher = new Dispatcher(kit.parts);
  new Router(kit.parts, dispatcher, new Tickets(kit.parts, dispatcher)).start();
  dispatcher.start();
  kit.join(...nodes.map((id) => nodeRecord(id)));
  const job = { job_id: "job-00001", security_level: level, prompt: "hello" };
  kit.bus.deliver("mesh.main.job.submit.chat", job, { reply: INBOX });
  const first = await kit.bus.next(RUN);
  const runs = () => kit.bus.on(RUN);
  const nodeOf = (subject: string) => subject.slice(subject.lastIndexOf(".") + 1);
  const last = () => runs().at(-1) ?? first;
  const verdict = (type: string, rest: Record<string, unknown> = {}) =>
    kit.bus.deliver(last().reply ?? "", {
      type,
      job_id: "job-00001",
      node_id: nodeOf(last().subject),
      load: LOAD,
      ...rest,
    });
  const answers = () => kit.bus.on(INBOX).map((answer) => JobResult.parse(answer.json()));
  const asked = () => runs().map(({ subject }) => nodeOf(subject));
  return { ...kit, dispatcher, verdict, answers, asked, last };
}

test("an accepted job is the node's: nothing more is said, and its ending only frees the place", async () => {
  const { dispatcher, verdict, answers, events, fleet } = await dispatched("P2", ["a"]);
  verdict("accepted");
  expect(dispatcher.inFlight).toEqual({ waiting: 0, running: 1 });
  expect(fleet.fleet.view("a")?.ownInFlight).toBe(1);
  expect(fleet.fleet.view("a")?.record.load?.running).toBe(1);
  verdict("ended", { status: "finished", timing: { queued_ms: 0, ttft_ms: 5, total_ms: 10 } });
  expect(dispatcher.inFlight).toEqual({ waiting: 0, running: 0 });
  expect(fleet.fleet.view("a")?.ownInFlight).toBe(0);
  expect(answers()).toEqual([]);
  expect(events.of("job_ended")).toEqual([]);
});

test("a refused job goes to nodes not yet asked, at most retry_attempts more, then ends with the last reason", async () => {
  const { dispatcher, verdict, answers, asked, events } = await dispatched("P2", ["a", "b", "c", "d"]);
  for (let i = 0; i < 3; i++) verdict("refused", { error: BUSY });
  expect(new Set(asked()).size).toBe(3);
  expect(asked()).toHaveLength(3);
  expect(answers()).toMatchObject([
    { status: "refused", attempts: 3, error: { code: "all_busy", retry_after_ms: 500 } },
  ]);
  expect(events.of("job_redispatched").map(({ to_node_id }) => to_node_id)).toEqual([asked()[1], asked()[2], null]);
  expect(events.of("job_ended")).toMatchObject([{ job_id: "job-00001", status: "refused" }]);
  expect(dispatcher.inFlight).toEqual({ waiting: 0, running: 0 });
});

test("retry_attempts 0 means one try", async () => {
  const { verdict, answers, asked } = await dispatched("P2", ["a", "b"], { defaults: { retry_attempts: 0 } });
  verdict("refused", { error: BUSY });
  expect([asked().length, answers().length]).toEqual([1, 1]);
});

test("the next try says so: its number, and the same bytes, inbox and deadline", async () => {
  const { bus, verdict } = await dispatched();
  verdict("refused", { error: BUSY });
  const [first, second] = bus.on(RUN);
  expect(second?.headers?.get("Mesh-Attempt")).toBe("2");
  expect(second?.data).toEqual(first?.data);
  expect(second?.reply).not.toBe(first?.reply);
  for (const name of ["Mesh-Job", "Mesh-Reply", "Mesh-Deadline", "Mesh-Class", "Mesh-Decision"])
    expect(second?.headers?.get(name)).toBe(first?.headers?.get(name));
});

test("no responders: the broker's 503 re-picks at once, and the node is not chosen until it is heard again", async () => {
  const { bus, fleet, asked, last, join } = await dispatched("P2", ["a", "b"]);
  const [gone] = asked();
  bus.deliver(last().reply ?? "", undefined, { code: 503 });
  expect(asked()).toHaveLength(2);
  expect(fleet.fleet.view(gone ?? "")?.gone).toBe(true);
  join(nodeRecord(gone ?? "", { seq: 1 }));
  expect(fleet.fleet.view(gone ?? "")).toMatchObject({ gone: false, ownInFlight: 0 });
});

test("silence beyond the accept limit re-picks, and in the end the caller gets one node_lost", async () => {
  vi.useFakeTimers();
  const { dispatcher, asked, answers } = await dispatched();
  const pass = (ms: number) => {
    for (let left = ms; left > 0; left -= SWEEP_MS) {
      vi.advanceTimersByTime(SWEEP_MS);
      dispatcher.sweep();
    }
  };
  pass(ACCEPT_LIMIT_MS);
  expect(asked()).toHaveLength(1);
  pass(4 * ACCEPT_LIMIT_MS);
  expect(new Set(asked())).toEqual(new Set(["a", "b", "c"]));
  expect(answers()).toMatchObject([{ status: "refused", attempts: 3, error: { code: "node_lost" } }]);
});

test("a router that was busy itself reads the verdicts that wait before it calls a node silent", async () => {
  vi.useFakeTimers();
  const { dispatcher, asked, verdict } = await dispatched();
  dispatcher.sweep();
  vi.advanceTimersByTime(2000);
  dispatcher.sweep();
  expect(asked()).toHaveLength(1);
  verdict("accepted");
  vi.advanceTimersByTime(SWEEP_MS);
  dispatcher.sweep();
  expect([asked().length, dispatcher.inFlight]).toEqual([1, { waiting: 0, running: 1 }]);
});

test("the class is checked again at each hop: a P0 job never follows its node's model to L2", async () => {
  const { verdict, answers, asked, join } = await dispatched("P0", ["a"], UNSEALED);
  join(nodeRecord("cloud", { layer: "L2" }));
  verdict("refused", { error: { ...BUSY, code: "draining" } });
  await Promise.resolve();
  expect(asked()).toEqual(["a"]);
  expect(answers()).toMatchObject([{ security_level: "P0", error: { code: "draining" } }]);
});

test("the second try of a P0 job waits for its own record", async () => {
  const { bus, events, verdict, asked } = await dispatched("P0", undefined, UNSEALED);
  const durable = Promise.withResolvers<void>();
  events.stall = durable.promise;
  verdict("refused", { error: BUSY });
  expect(asked()).toHaveLength(1);
  durable.resolve();
  expect((await bus.next(RUN, 1)).subject).toContain(".run.P0.");
});

test("a second try that cannot be recorded is refused with audit_unavailable", async () => {
  const { events, verdict, asked, answers } = await dispatched("P2");
  events.failure = new MeshError("audit_unavailable", "too many events wait");
  verdict("refused", { error: BUSY });
  expect(asked()).toHaveLength(1);
  expect(answers()).toMatchObject([{ error: { code: "audit_unavailable" } }]);
});

test("a lost node that comes back is empty: the jobs it lost do not count against it", async () => {
  const { fleet, verdict, join } = await dispatched("P2", ["a"]);
  verdict("accepted");
  join(nodeRecord("a", { boot_id: "boot-2" }));
  expect(fleet.fleet.view("a")).toMatchObject({ ownInFlight: 0, gone: false });
});

test("a cancel before acceptance reaches the node after it", async () => {
  const { bus, verdict } = await dispatched();
  bus.deliver("mesh.main.job.cancel.job-00001", undefined);
  expect(bus.on("mesh.main.job.cancel")).toEqual([]);
  verdict("accepted");
  expect(bus.on("mesh.main.job.cancel").map(({ subject }) => subject)).toEqual(["mesh.main.job.cancel.job-00001"]);
});

test("a cancelled job whose node refuses is not sent again: it ends as cancelled", async () => {
  const { bus, verdict, asked, answers } = await dispatched();
  bus.deliver("mesh.main.job.cancel.job-00001", undefined);
  verdict("refused", { error: BUSY });
  expect(asked()).toHaveLength(1);
  expect(answers()).toMatchObject([{ status: "cancelled", error: { code: "cancelled" } }]);
});

test("a try that its client gave up for a newer one is dropped: no re-pick, no ending, no cancel of the newer one", async () => {
  const { bus, dispatcher, fleet, verdict, asked, answers, events } = await dispatched("P2", ["a", "b"]);
  bus.deliver("mesh.main.job.cancel.job-00001", { superseded: true });
  expect(dispatcher.inFlight).toEqual({ waiting: 0, running: 0 });
  expect(fleet.fleet.view(asked()[0] ?? "")?.ownInFlight).toBe(0);
  verdict("accepted");
  verdict("refused", { error: BUSY });
  expect([asked().length, answers(), events.of("job_ended")]).toEqual([1, [], []]);
  expect(bus.on("mesh.main.job.cancel")).toEqual([]);
});

test("a cancel whose body is garbage, null or something else is a cancel all the same", async () => {
  for (const body of [new Uint8Array([255]), null, { superseded: "yes" }]) {
    const { bus, verdict, answers } = await dispatched();
    bus.deliver("mesh.main.job.cancel.job-00001", body);
    verdict("refused", { error: BUSY });
    expect(answers()).toMatchObject([{ status: "cancelled" }]);
  }
});

test("a node cannot take, refuse or end a job that another one was asked for", async () => {
  const { bus, dispatcher, fleet, verdict, answers, asked, last, rejected, join } = await dispatched("P2", ["a"]);
  join(nodeRecord("liar"));
  const ended = { status: "finished", timing: null };
  const lies: [string, Record<string, unknown>][] = [
    ["accepted", {}],
    ["refused", { error: BUSY }],
    ["ended", ended],
  ];
  for (const [type, rest] of lies) {
    verdict(type, { ...rest, node_id: "liar", load: { ...LOAD, running: 999 } });
    verdict(type, { ...rest, job_id: "job-99999", load: { ...LOAD, running: 999 } });
  }
  // On its own subject, where the broker lets it speak, it says that it is the other.
  const forged = { type: "accepted", job_id: "job-00001", node_id: "a", load: { ...LOAD, running: 999 } };
  bus.deliver((last().reply ?? "").replace(".a.", ".liar."), forged);
  bus.deliver("mesh.main.job.verdict.router-2.liar.0", forged);
  expect(dispatcher.inFlight).toEqual({ waiting: 1, running: 0 });
  expect(rejected.map(({ kind, error }) => [kind, error.code, error.field])).toEqual([
    ...lies.flatMap(() => [
      ["verdict", "forbidden", "node_id"],
      ["verdict", "forbidden", "job_id"],
    ]),
    ["verdict", "forbidden", "node_id"],
  ]);
  expect(["a", "liar"].map((id) => fleet.fleet.view(id)?.record.load?.running)).toEqual([0, 0]);
  verdict("accepted");
  verdict("ended", { ...ended, node_id: "liar" });
  expect(dispatcher.inFlight).toEqual({ waiting: 0, running: 1 });
  expect([asked(), answers()]).toEqual([["a"], []]);
});

test("a running job is not given away: neither a late refusal nor a made-up 503 moves it", async () => {
  const { bus, dispatcher, fleet, verdict, asked, answers, last } = await dispatched();
  verdict("accepted");
  verdict("refused", { error: BUSY });
  bus.deliver(last().reply ?? "", undefined, { code: 503 });
  expect(dispatcher.inFlight).toEqual({ waiting: 0, running: 1 });
  expect(asked()).toHaveLength(1);
  expect(answers()).toEqual([]);
  expect(fleet.fleet.view(asked()[0] ?? "")?.gone).toBe(false);
});

test("verdicts for tokens that are not known, and garbage, change nothing", async () => {
  const { bus, dispatcher, rejected, asked, answers } = await dispatched();
  const subject = "mesh.main.job.verdict.router-1.a.";
  bus.deliver(`${subject}zzz`, {
    type: "ended",
    job_id: "job-00001",
    node_id: "a",
    load: LOAD,
    status: "finished",
    timing: null,
  });
  bus.deliver(`${subject}zzz`, undefined, { code: 503 });
  expect(rejected).toEqual([]);
  bus.deliver(`${subject}0`, new Uint8Array([1, 2, 3]));
  bus.deliver(`${subject}0`, { type: "ended" });
  bus.deliver(`${subject}0`, { type: "accepted", job_id: "job-00001", node_id: "a", load: { slots: -1 } });
  expect(rejected.map(({ error }) => error.code)).toEqual(["bad_request", "bad_request", "bad_request"]);
  expect(dispatcher.inFlight).toEqual({ waiting: 1, running: 0 });
  expect([asked().length, answers().length]).toEqual([1, 0]);
});

test("a running job whose node never told its ending ends as expired two seconds after its deadline", async () => {
  vi.useFakeTimers();
  const { answers, dispatcher, events, fleet, verdict } = await dispatched("P2", ["a"]);
  verdict("accepted");
  vi.advanceTimersByTime(32_000);
  dispatcher.sweep();
  expect(dispatcher.inFlight.running).toBe(1);
  vi.advanceTimersByTime(1);
  dispatcher.sweep();
  expect(dispatcher.inFlight.running).toBe(0);
  expect(fleet.fleet.view("a")?.ownInFlight).toBe(0);
  expect(answers()).toMatchObject([{ status: "expired", node_id: "a", error: { code: "deadline_exceeded" } }]);
  expect(events.of("job_ended")).toHaveLength(1);
});

test("a node that was just told that a job is its to tell of has time for that, but not for ever", async () => {
  vi.useFakeTimers();
  const { answers, bus, dispatcher, last, verdict } = await dispatched("P2", ["a"]);
  verdict("accepted");
  const ask = () => {
    const word = { type: "accepted", job_id: "job-00001", node_id: "a", load: LOAD };
    bus.deliver(last().reply ?? "", word, { reply: "_INBOX.node.go" });
    expect(bus.on("_INBOX.node.go").at(-1)?.json()).toEqual({ go: true });
  };
  const after = (ms: number) => {
    vi.advanceTimersByTime(ms);
    dispatcher.sweep();
    return answers().length;
  };
  expect(after(31_900)).toBe(0);
  ask();
  expect([after(1499), after(2)]).toEqual([0, 1]);
});

test("a node slower than predicted is corrected, by the prediction for that node", async () => {
  const { fleet, verdict } = await dispatched("P2", ["a"]);
  verdict("accepted");
  const timing = { queued_ms: 1000, ttft_ms: 9000, total_ms: 20_000 };
  verdict("ended", { status: "finished", timing });
  expect(fleet.fleet.view("a")?.correction).toBe(4);
});
