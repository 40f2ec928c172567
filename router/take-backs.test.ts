import { afterEach, expect, test, vi } from "vitest";
import { JobResult, MeshError } from "../bus-schemas/index.ts";
import { nodeRecord, routerParts } from "../test/kit/router-parts.ts";
import { Dispatcher } from "./dispatcher.ts";
import { Router } from "./router.ts";
import { Tickets } from "./tickets.ts";

const INBOX = "_INBOX.caller.1";
const NODE = "_INBOX.agent.ended.0";
const LOAD = { slots: 2, running: 0, queued: 0, queue_limit: 2, pending_prefill_tokens: 0 };
const BROKEN = new MeshError("runtime_failed", "the runtime does not answer").toWire();

afterEach(() => void vi.useRealTimers());

/** A router whose node `a` has handed a whole answer back. */
async function handedBack() {
  vi.useFakeTimers();
  const kit = routerParts();
  const dispatcher = new Dispatcher(kit.parts);
  new Router(kit.parts, dispatcher, new Tickets(kit.parts, dispatcher)).start();
  dispatcher.start();
  kit.fleet.start(kit.parts.bus, kit.parts.rejections);
  kit.join(nodeRecord("a"));
  const job = { job_id: "job-00001", security_level: "P2", prompt: "hello" };
  kit.bus.deliver("mesh.main.job.submit.chat", job, { reply: INBOX });
  const run = await kit.bus.next("mesh.main.job.run");
  kit.join(nodeRecord("b"));
  const node = { job_id: "job-00001", node_id: "a", load: LOAD };
  kit.bus.deliver(run.reply ?? "", { type: "accepted", ...node });
  const ended = { type: "ended", ...node, status: "failed", timing: null, error: BROKEN, handed_back: true };
  const say = (reply = NODE) => kit.bus.deliver(run.reply ?? "", ended, { reply });
  const questions = () => kit.bus.on(NODE).filter(({ json }) => json()["take"] === true);
  const answer = (go: boolean) => kit.bus.deliver(questions().at(-1)?.reply ?? "", { go });
  const asked = () => kit.bus.on("mesh.main.job.run").map(({ subject }) => subject.split(".").at(-1));
  const told = () => kit.bus.on(INBOX).map((message) => JobResult.parse(message.json()));
  return { ...kit, dispatcher, say, questions, answer, asked, told };
}

test("the next node is asked when the first says that the job is ours, and not before", async () => {
  const { say, questions, answer, asked, dispatcher } = await handedBack();
  say();
  say();
  expect(questions()).toHaveLength(1);
  expect(asked()).toEqual(["a"]);
  expect(dispatcher.inFlight.running).toBe(1);
  answer(true);
  expect(asked()).toEqual(["a", "b"]);
  answer(true);
  expect(asked()).toHaveLength(2);
});

test("a job whose caller was told there is over: nobody else is asked, told or recorded, and its place is free", async () => {
  const { say, answer, asked, told, events, dispatcher } = await handedBack();
  say();
  answer(false);
  vi.advanceTimersByTime(5000);
  expect([asked(), told(), events.of("job_ended"), events.of("job_redispatched")]).toEqual([["a"], [], [], []]);
  expect(dispatcher.inFlight).toEqual({ waiting: 0, running: 0 });
});

test("a node that does not answer is asked again until it is lost; then another one has the job", async () => {
  const { bus, say, questions, asked } = await handedBack();
  say();
  vi.advanceTimersByTime(1000);
  expect(questions()).toHaveLength(4);
  expect(asked()).toEqual(["a"]);
  bus.deliver("mesh.main.node.gone.a", { node_id: "a" });
  expect(asked()).toEqual(["a", "b"]);
  vi.advanceTimersByTime(1000);
  expect(questions()).toHaveLength(4);
});

test("a node of an older version, which hears no answer, has handed it back", async () => {
  const { say, asked } = await handedBack();
  say("");
  expect(asked()).toEqual(["a", "b"]);
});
