import { expect, test } from "vitest";
import { SleepEntry } from "../../bus-schemas/index.ts";
import { nodeRecord } from "../../test/kit/router-parts.ts";
import { isReady, mayWake, readyInMs, wakeEnded } from "./entry.ts";

const NOW_MS = 1_800_000_000_000;
const WAKE = {
  id: "wake-1",
  asked_by: "router one",
  job_id: null,
  neighbour: "n2",
  asked_unix_ms: NOW_MS,
  until_unix_ms: NOW_MS + 120_000,
};
const entry = (overrides: Partial<SleepEntry> = {}): SleepEntry =>
  SleepEntry.parse({
    node_id: "n1",
    asleep: nodeRecord("n1", { sleep: { mac: "02:00:00:00:00:01", network: "10.0.0.0/24" } }),
    since_unix_ms: NOW_MS - 60_000,
    ready_in_seconds: null,
    wake: null,
    last: null,
    failures: 0,
    not_before_unix_ms: null,
    ...overrides,
  });
const ended = (from: SleepEntry, outcome: "ready" | "not_up" | "not_ready" | "not_asked", afterMs: number) =>
  SleepEntry.parse(wakeEnded(from, WAKE, { outcome, reason: null }, NOW_MS + afterMs));

test("the time to be ready is learned: the first one as it is, later ones by three tenths", () => {
  const first = ended(entry({ wake: WAKE }), "ready", 10_000);
  expect(first).toMatchObject({ ready_in_seconds: 10, wake: null, asleep: null, last: { after_seconds: 10 } });
  expect(ended({ ...first, wake: WAKE }, "ready", 20_000).ready_in_seconds).toBe(13);
});

test("a clock that was set in between teaches no nonsense", () => {
  expect(ended(entry({ wake: WAKE }), "ready", -3_600_000).ready_in_seconds).toBe(0);
  expect(ended(entry({ wake: WAKE }), "ready", 3_600_000).ready_in_seconds).toBe(120);
});

test("a wake that is under way has less time left, one that was never seen has a guess", () => {
  expect(readyInMs(entry(), NOW_MS)).toBe(20_000);
  expect(readyInMs(entry({ ready_in_seconds: 12 }), NOW_MS)).toBe(12_000);
  expect(readyInMs(entry({ ready_in_seconds: 12, wake: WAKE }), NOW_MS + 5000)).toBe(7000);
  expect(readyInMs(entry({ ready_in_seconds: 12, wake: WAKE }), NOW_MS + 50_000)).toBe(0);
});

test("after a failure jobs wake it no more for five minutes, then twice as long each time, a day at most", () => {
  let state = entry();
  const pauses: number[] = [];
  for (let i = 0; i < 12; i++) {
    state = ended({ ...state, wake: WAKE }, "not_up", 0);
    pauses.push(((state.not_before_unix_ms ?? 0) - NOW_MS) / 60_000);
  }
  expect(pauses.slice(0, 4)).toEqual([5, 10, 20, 40]);
  expect(pauses.at(-1)).toBe(24 * 60);
  expect(mayWake(state, NOW_MS + 1, true)).toBe(false);
  expect(mayWake(state, NOW_MS + 1, false)).toBe(true);
  expect(mayWake(state, NOW_MS + 24 * 3_600_000, true)).toBe(true);
  expect(ended({ ...state, wake: WAKE }, "ready", 1000)).toMatchObject({ failures: 0, not_before_unix_ms: null });
});

test("a machine that came up and takes no jobs sleeps no more; one that did not, or was not asked, does", () => {
  expect(ended(entry({ wake: WAKE }), "not_ready", 1).asleep).toBeNull();
  expect(ended(entry({ wake: WAKE }), "not_up", 1).asleep).not.toBeNull();
  expect(ended(entry({ wake: WAKE }), "not_asked", 1)).toMatchObject({
    last: { outcome: "not_asked", after_seconds: 0 },
  });
});

test("one wake at a time, until its time is over", () => {
  expect(mayWake(entry({ wake: WAKE }), NOW_MS + 119_999, false)).toBe(false);
  expect(mayWake(entry({ wake: WAKE }), NOW_MS + 120_000, false)).toBe(true);
  expect(mayWake(entry({ asleep: null }), NOW_MS, false)).toBe(false);
});

test("a node is ready when it takes jobs for a model that it had", () => {
  expect(isReady(nodeRecord("n1"), entry())).toBe(true);
  expect(isReady(nodeRecord("n1", { status: "suspended" }), entry())).toBe(false);
  expect(isReady(nodeRecord("n1", { models: [], served_models: [] }), entry())).toBe(false);
  expect(isReady(nodeRecord("n1", { models: ["another"] }), entry())).toBe(false);
});
