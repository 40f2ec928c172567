import { afterEach, expect, test, vi } from "vitest";
import { HEADERS, JobResult, MeshError } from "../bus-schemas/index.ts";
import { nodeRecord, routerParts, UNSEALED } from "../test/kit/router-parts.ts";
import { Dispatcher } from "./dispatcher.ts";
import { Router } from "./router.ts";
import { Tickets } from "./tickets.ts";

const INBOX = "_INBOX.caller.1";
const NODE_INBOX = "_INBOX.node.go.";
const RUN = "mesh.main.job.run";
const LOAD = { slots: 2, running: 1, queued: 0, queue_limit: 2, pending_prefill_tokens: 0 };
const HEDGED = { ...UNSEALED, task_queues: { chat: { hedge_after_ms: 300 }, rag: {} } };

afterEach(() => void vi.useRealTimers());

/** A router with nodes of one model, whose queue `chat` is hedged after 300 ms. */
function hedging(nodes = ["a", "b", "c"], policy: Record<string, unknown> = HEDGED) {
  vi.useFakeTimers();
  const kit = routerParts(policy);
  const dispatcher = new Dispatcher(kit.parts);
  new Router(kit.parts, dispatcher, new Tickets(kit.parts, dispatcher)).start();
  dispatcher.start();
  kit.join(...nodes.map((id) => nodeRecord(id)));
  const runs = () => kit.bus.on(RUN);
  const submit = (rest: Record<string, unknown> = {}, queue = "chat") =>
    kit.bus.deliver(
      `mesh.main.job.submit.${queue}`,
      { job_id: "job-00001", security_level: "P2", prompt: "hello", ...rest },
      { reply: INBOX },
    );
  const say = (run: number, type: string, rest: Record<string, unknown> = {}, reply = "") => {
    const { subject = "", reply: verdicts = "" } = runs()[run] ?? {};
    const node = subject.slice(subject.lastIndexOf(".") + 1);
    kit.bus.deliver(verdicts, { type, job_id: "job-00001", node_id: node, load: LOAD, ...rest }, { reply });
  };
  /** The node has its first word. @returns what its router says to that */
  const speak = (run: number) => {
    const inbox = NODE_INBOX + run;
    say(run, "accepted", {}, inbox);
    return kit.bus.on(inbox).at(-1)?.json()["go"];
  };
  const pass = async (ms: number) => {
    for (let i = 0; i < ms; i += 50) {
      await vi.advanceTimersByTimeAsync(50);
      dispatcher.sweep();
    }
  };
  const finish = (run: number) => say(run, "ended", { status: "finished", timing: null });
  const cancels = () => kit.bus.on("mesh.main.job.cancel.").map((cancel) => cancel.json()["node_id"]);
  const nodes_ = () => runs().map(({ subject }) => subject.slice(subject.lastIndexOf(".") + 1));
  const endings = () => kit.bus.on(INBOX).map((answer) => JobResult.parse(answer.json()));
  return { ...kit, dispatcher, submit, runs, say, speak, pass, finish, cancels, asked: nodes_, endings };
}

test("a job of which its node tells nothing in time goes to a second one, and the first to speak tells it", async () => {
  for (const winner of [0, 1]) {
    const { submit, runs, say, speak, pass, finish, cancels, asked, events, dispatcher, fleet } = hedging();
    submit();
    say(0, "accepted");
    await pass(250);
    expect(runs()).toHaveLength(1);
    await pass(100);
    expect(new Set(asked()).size).toBe(2);
    expect(runs().map(({ headers }) => headers?.get(HEADERS.goAhead))).toEqual(["first", "first"]);
    say(1, "accepted");
    expect(speak(winner)).toBe(true);
    expect(cancels()).toEqual([asked()[1 - winner]]);
    expect(speak(1 - winner)).toBe(false);
    expect(speak(winner)).toBe(true);
    finish(winner);
    expect(dispatcher.inFlight).toEqual({ waiting: 0, running: 0 });
    expect([dispatcher.hedges.size, fleet.fleet.view(asked()[1 - winner] ?? "")?.ownInFlight]).toEqual([0, 0]);
    expect(events.of("job_hedged")).toMatchObject([{ from_node_id: asked()[0], to_node_id: asked()[1], attempt: 1 }]);
    expect([events.of("job_redispatched"), events.of("job_ended")]).toEqual([[], []]);
    vi.useRealTimers();
  }
});

test("a node that has spoken is not hedged, nor is a queue whose policy does not say so", async () => {
  const spoke = hedging();
  spoke.submit();
  spoke.say(0, "accepted");
  expect(spoke.speak(0)).toBe(true);
  await spoke.pass(1000);
  expect(spoke.runs()).toHaveLength(1);
  vi.useRealTimers();
  const rag = hedging();
  rag.submit({}, "rag");
  rag.say(0, "accepted");
  await rag.pass(1000);
  expect(rag.runs().map(({ headers }) => headers?.get(HEADERS.goAhead))).toEqual(["1"]);
});

test.each(["refuses", "fails", "is lost"])(
  "where one of the two %s the other goes on, and nobody is asked instead",
  async (how) => {
    const { submit, say, speak, pass, finish, asked, endings, dispatcher, fleet, events } = hedging();
    submit();
    say(0, "accepted");
    await pass(350);
    const lost = new MeshError("runtime_failed", "broken").toWire();
    if (how === "refuses") say(1, "refused", { error: new MeshError("all_busy", "full").toWire() });
    if (how === "fails") say(0, "ended", { status: "failed", timing: null, error: lost, handed_back: true });
    if (how === "is lost") fleet.onGone(asked()[0] ?? "");
    const left = how === "refuses" ? 0 : 1;
    if (how === "is lost") await pass(50);
    expect(asked()).toHaveLength(2);
    expect(speak(left)).toBe(true);
    finish(left);
    expect([dispatcher.inFlight, dispatcher.hedges.size]).toEqual([{ waiting: 0, running: 0 }, 0]);
    expect([endings(), events.of("job_ended")]).toEqual([[], []]);
  },
);

test("when both fail the job is tried again as any other, and when nobody is left it has one ending", async () => {
  const { submit, say, pass, asked, endings } = hedging(["a", "b"]);
  submit();
  say(0, "accepted");
  await pass(350);
  const error = new MeshError("runtime_failed", "broken").toWire();
  for (const run of [0, 1]) say(run, "ended", { status: "failed", timing: null, error, handed_back: true });
  expect(asked()).toHaveLength(2);
  expect(endings()).toMatchObject([{ error: { code: "runtime_failed" } }]);
});

test("one that both nodes never end has one ending, after its deadline", async () => {
  const { submit, say, pass, endings } = hedging();
  submit({ timeout_ms: 1000 });
  say(0, "accepted");
  await pass(350);
  say(1, "accepted");
  await pass(4000);
  expect(endings()).toMatchObject([{ status: "expired" }]);
});

test("P1 goes to the second node when the record of that is durable, and not when the first has spoken by then", async () => {
  for (const spoken of [false, true]) {
    const { submit, say, speak, pass, runs, events } = hedging();
    submit({ security_level: "P1" });
    await pass(50);
    say(0, "accepted");
    const durable = Promise.withResolvers<void>();
    events.stall = durable.promise;
    await pass(350);
    expect(runs()).toHaveLength(1);
    if (spoken) speak(0);
    durable.resolve();
    await pass(50);
    expect(runs()).toHaveLength(spoken ? 1 : 2);
    vi.useRealTimers();
  }
});

test("hedges are within the retry budget, and a caller of a stream hears that its job is worked on", async () => {
  const { submit, say, pass, runs, bus, dispatcher } = hedging();
  while (dispatcher.retries.inBudget());
  submit({ stream: true });
  say(0, "accepted");
  await pass(1100);
  expect(runs()).toHaveLength(1);
  expect(bus.on(INBOX).map((frame) => frame.json()["type"])).toEqual(["working"]);
});

test("no second node to be had: the first goes on, and is not asked about again", async () => {
  const { submit, say, speak, pass, runs, finish, dispatcher } = hedging(["a"]);
  submit();
  say(0, "accepted");
  await pass(1000);
  expect([runs().length, speak(0)]).toEqual([1, true]);
  finish(0);
  expect(dispatcher.hedges.size).toBe(0);
});
