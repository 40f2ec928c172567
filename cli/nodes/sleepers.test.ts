import { expect, test } from "vitest";
import { SleepEntry } from "../../bus-schemas/index.ts";
import { nodeRecord } from "../../test/kit/router-parts.ts";
import { CARD } from "../../test/kit/sleep-parts.ts";
import { formatNodes } from "../format/node.ts";
import { describeSleep, withSleepers } from "./sleepers.ts";

const NOW_MS = Date.parse("2026-11-26T08:00:00Z");
const WAKE = {
  id: "wake-1",
  asked_by: "router one",
  job_id: null,
  neighbour: "rack-1",
  asked_unix_ms: NOW_MS - 5000,
  until_unix_ms: NOW_MS + 115_000,
};
const entry = (overrides: Partial<SleepEntry> = {}, card = {}): SleepEntry =>
  SleepEntry.parse({
    node_id: "desk-1",
    asleep: nodeRecord("desk-1", { status: "suspended", sleep: { ...CARD, ...card } }),
    since_unix_ms: NOW_MS - 5 * 3_600_000,
    ready_in_seconds: 12.4,
    wake: null,
    last: null,
    failures: 0,
    not_before_unix_ms: null,
    ...overrides,
  });

test.each([
  ["asleep, ready in ~12 s", entry()],
  ["asleep, never woken yet", entry({ ready_in_seconds: null })],
  ["asleep, being woken by rack-1 for 5 s of ~12", entry({ wake: WAKE })],
  ["asleep, being woken by rack-1 for 5 s", entry({ wake: WAKE, ready_in_seconds: null })],
  ["asleep, ready in ~12 s; not for jobs: the node is cordoned", entry({}, { closed_because: "the node is cordoned" })],
  [
    "asleep; did not come up, so not woken for jobs before 2026-11-26T08:05:00.000Z",
    entry({ failures: 1, not_before_unix_ms: NOW_MS + 300_000 }),
  ],
  ["asleep, ready in ~12 s", entry({ failures: 1, not_before_unix_ms: NOW_MS - 1 })],
])("a sleeper is %s", (words, sleeper) => {
  expect(describeSleep(sleeper, NOW_MS)).toBe(words);
});

test("who sleeps since before anybody listened is listed with those that were heard, and by its own name once", () => {
  const heard = [
    { record: nodeRecord("rack-1"), state: "ready" as const, seenAgoMs: 300 },
    { record: nodeRecord("desk-2"), state: "ready" as const, seenAgoMs: 300 },
  ];
  const sleepers = new Map([
    ["desk-1", entry()],
    ["desk-2", entry({ node_id: "desk-2" })],
  ]);
  const all = withSleepers(heard, sleepers, NOW_MS);
  expect(all.map(({ record, state }) => [record.node_id, state])).toEqual([
    ["desk-1", "asleep"],
    ["desk-2", "ready"],
    ["rack-1", "ready"],
  ]);
  const lines = formatNodes(all, sleepers, NOW_MS).split("\n");
  expect(lines.find((line) => line.includes("desk-1"))).toMatch(/asleep, ready in ~12 s .* 5 h$/);
  expect(lines.find((line) => line.includes("desk-2"))).not.toContain("asleep");
});
