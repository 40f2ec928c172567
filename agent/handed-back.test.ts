import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { HEADERS, MeshError } from "../bus-schemas/index.ts";
import { agentParts } from "../test/kit/agent-parts.ts";
import { HandedBack } from "./handed-back.ts";

const BROKEN = new MeshError("runtime_failed", "the runtime does not answer");
const ASKER = "_INBOX.router.taken.1";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A job that failed and was handed back; `ask` is its router's question. */
function handedBack() {
  const kit = agentParts({ inbox: "_INBOX.agent" });
  kit.submit({ prompt: "hello" }, { [HEADERS.handBack]: "router" });
  kit.work.runs[0]?.fail(BROKEN);
  const to = kit.bus.on("mesh.main.job.verdict.").at(-1)?.reply ?? "";
  const ask = () => kit.bus.deliver(to, { heard: true, take: true }, { reply: ASKER });
  const answers = () => kit.bus.on(ASKER).map(({ json }) => json());
  return { ...kit, ask, answers };
}

test("a router that asks in time has it: nobody is told here, however often it asks", () => {
  const { ask, answers, frames, events } = handedBack();
  ask();
  vi.advanceTimersByTime(5000);
  ask();
  expect(answers()).toEqual([{ go: true }, { go: true }]);
  expect([frames(), events.of("job_ended")]).toEqual([[], []]);
});

test("a router that stood still and asks too late hears that the caller was told", () => {
  const { ask, answers, frames, events } = handedBack();
  vi.advanceTimersByTime(2500);
  expect(frames()).toMatchObject([{ status: "failed" }]);
  ask();
  ask();
  expect(answers()).toEqual([{ go: false }, { go: false }]);
  expect([frames().length, events.of("job_ended").length]).toEqual([1, 1]);
});

test("that its word was heard does not yet mean that the router goes on", () => {
  const { bus, frames } = handedBack();
  bus.deliver(bus.on("mesh.main.job.verdict.").at(-1)?.reply ?? "", { heard: true });
  vi.advanceTimersByTime(2500);
  expect(frames()).toMatchObject([{ status: "failed" }]);
});

test("while the bus is away, and after this process stood still, it waits anew: the router's word may be there", () => {
  let connected = false;
  let nowMs = 0;
  const told: string[] = [];
  const later = (ms: number) => {
    nowMs += ms;
    vi.advanceTimersByTime(2000);
    return told.length;
  };
  const tell = () => void told.push("told");
  const take = new HandedBack({ connected: () => connected }, () => nowMs).add("job-00000001", tell);
  expect(later(2000)).toBe(0);
  connected = true;
  expect(later(60_000)).toBe(0);
  expect(later(2000)).toBe(1);
  expect(take()).toBe(false);
});
