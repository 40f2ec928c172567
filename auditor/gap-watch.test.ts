import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createLog } from "../service/log.ts";
import { Metrics } from "../service/metrics.ts";
import { GapWatch, type GapWatchParts } from "./gap-watch.ts";

const GAP = { kind: "job_unended", severity: "critical", job_id: "job-00000001" };

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** What a watch of one look has said, of an auditor that stands like this. */
async function oneLook({ writes = true, pending = 0, indexed = 5 } = {}) {
  const said: string[] = [];
  const watch = new GapWatch({
    bus: { nc: { publish: (subject: string) => void said.push(subject) }, subjects: { alert: () => "alert" } },
    auditor: { health: { ok: true, pending, tree_size: 5 }, signedLog: writes ? {} : undefined },
    search: { state: { indexed, problem: null }, ask: () => Promise.resolve([GAP]) },
    events: { record: (type: string) => void said.push(type) },
    metrics: new Metrics("auditor"),
    log: createLog("test", "silent"),
    everyMs: 60_000,
  } as unknown as GapWatchParts);
  await vi.advanceTimersByTimeAsync(1000);
  const stopped = watch.stop();
  await vi.runAllTimersAsync();
  await stopped;
  return { said, found: watch.found };
}

test("a gap is an event, an alert and a count", async () => {
  expect(await oneLook()).toEqual({ said: ["audit_gap", "alert"], found: 1 });
});

test("a standby says nothing of it: the writer does, and two would say it twice", async () => {
  expect(await oneLook({ writes: false })).toEqual({ said: [], found: 0 });
});

test("while events wait, or are not searchable yet, what is missing may be among them", async () => {
  expect((await oneLook({ pending: 1 })).found).toBe(0);
  expect((await oneLook({ indexed: 4 })).found).toBe(0);
});
