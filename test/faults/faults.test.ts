import { expect, test } from "vitest";
import type { History } from "./mesh/history.ts";
import { simulate } from "./simulate.ts";

/** At least, and as many as fit into the time: a machine that is busy with other work does fewer. */
const SEEDS = { least: 60, most: 400 };
const LIMIT_MS = 25_000;

test("no seed breaks a rule, and together they reach what matters", { timeout: 180_000 }, async () => {
  const startedMs = performance.now();
  const seen = new Set<string>();
  for (let seed = 1; seed <= SEEDS.most; seed++) {
    if (seed > SEEDS.least && performance.now() - startedMs > LIMIT_MS) break;
    const { violations, history } = await simulate(seed);
    expect(violations, `replay it: npm run faults -- --seed ${seed} --trace`).toEqual([]);
    see(history, seen);
  }
  const jobs = [
    "P0 sealed",
    "P1",
    "P2",
    "accepted",
    "working",
    "finished",
    "failed",
    "refused",
    "expired",
    "cancelled",
  ];
  const events = [
    "job_decided",
    "job_redispatched",
    "job_hedged",
    "job_ended",
    "node_joined",
    "node_lost",
    "node_left",
    "class_mismatch",
  ];
  const faults = ["crash", "stop", "cut", "stall", "pause", "audit", "clock", "policy", "runtime", "forger"];
  expect([...jobs, ...events, ...faults].filter((what) => !seen.has(what))).toEqual([]);
});

test("a seed is one history, whatever ran before it; another seed is another", { timeout: 60_000 }, async () => {
  const first = await simulate(7, { traced: true });
  const other = await simulate(8);
  const again = await simulate(7, { traced: true });
  expect(again.lines).toEqual(first.lines);
  expect(again.hash).toBe(first.hash);
  expect(other.hash).not.toBe(first.hash);
});

function see({ arrivals, audit, disturbances, jobs }: History, seen: Set<string>): void {
  for (const { subjectClass, sealed } of arrivals) seen.add(`${subjectClass}${sealed ? " sealed" : ""}`);
  for (const { type } of audit) seen.add(type);
  for (const { kind } of disturbances) seen.add(kind);
  for (const { frames } of jobs)
    for (const { frame } of frames) seen.add(frame.type === "end" ? frame.status : frame.type);
}
