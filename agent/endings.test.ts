import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { HEADERS } from "../bus-schemas/index.ts";
import { agentParts } from "../test/kit/agent-parts.ts";

const VERDICT = "mesh.main.job.verdict.";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function parts() {
  const kit = agentParts({ slots: 2, inbox: "_INBOX.agent" });
  const endings = () => kit.bus.on(VERDICT).filter((_, i) => kit.verdicts()[i]?.type === "ended");
  const end = (headers = {}) => {
    kit.submit({ prompt: "hello", stream: false }, headers);
    kit.work.runs.at(-1)?.done();
  };
  const confirm = (which: number) => kit.bus.deliver(endings().at(which)?.reply ?? "", { heard: true });
  return { ...kit, endings, end, confirm };
}

test("a router that confirms an ending is told once", () => {
  const { endings, end, confirm } = parts();
  end();
  confirm(0);
  vi.advanceTimersByTime(60_000);
  expect(endings()).toHaveLength(1);
});

test("a word that was lost with the bus's server is said again, with the load of then, until it is confirmed", () => {
  const { endings, end, confirm, submit, verdicts } = parts();
  end();
  submit({ prompt: "another", stream: true }, { [HEADERS.job]: "job-00000002" });
  vi.advanceTimersByTime(500);
  expect(endings()).toHaveLength(2);
  expect(new Set(endings().map(({ reply }) => reply)).size).toBe(1);
  expect(verdicts().filter(({ type }) => type === "ended")).toMatchObject([
    { job_id: "job-00000001", status: "finished", load: { running: 0 } },
    { job_id: "job-00000001", status: "finished", load: { running: 1 } },
  ]);
  confirm(1);
  vi.advanceTimersByTime(10_000);
  expect(endings()).toHaveLength(2);
});

test("one that never confirms, as older versions do not, is told five times in all", () => {
  const { endings, end } = parts();
  end();
  vi.advanceTimersByTime(60_000);
  expect(endings()).toHaveLength(5);
});

test("each ending is confirmed by itself", () => {
  const { endings, end, confirm, verdicts } = parts();
  end();
  end({ [HEADERS.job]: "job-00000002" });
  confirm(0);
  vi.advanceTimersByTime(500);
  expect(endings()).toHaveLength(3);
  expect(verdicts().at(-1)).toMatchObject({ type: "ended", job_id: "job-00000002" });
});

test("what ended while the bus was away is told when it is back", () => {
  const { bus, submit, work, verdicts, intake, confirm } = parts();
  submit({ prompt: "hello", stream: false });
  bus.away = true;
  work.runs[0]?.done();
  vi.advanceTimersByTime(60_000);
  expect(verdicts().map(({ type }) => type)).toEqual(["accepted"]);
  bus.away = false;
  intake.catchUp();
  expect(verdicts().slice(1)).toMatchObject([{ type: "ended", status: "finished" }]);
  confirm(0);
  intake.catchUp();
  expect(verdicts()).toHaveLength(2);
});

test("that no router is on the bus confirms nothing: it is said again to the one that comes back", () => {
  const { bus, endings, end, confirm } = parts();
  end();
  bus.deliver(endings()[0]?.reply ?? "", new Uint8Array(), { code: 503 });
  vi.advanceTimersByTime(500);
  expect(endings()).toHaveLength(2);
  confirm(1);
  vi.advanceTimersByTime(60_000);
  expect(endings()).toHaveLength(2);
});

test("an agent that stops says nothing more, and its timers end", () => {
  const { bus, endings, end } = parts();
  end();
  bus.nc.isDraining = () => true;
  vi.advanceTimersByTime(60_000);
  expect(endings()).toHaveLength(1);
  expect(vi.getTimerCount()).toBe(0);
});
