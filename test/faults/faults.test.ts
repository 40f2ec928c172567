import { expect, test } from "vitest";
import { simulate } from "./simulate.ts";

/** At least, and as many as fit into the time: a machine that is busy with other work does fewer. */
const SEEDS = { least: 60, most: 400 };
const LIMIT_MS = 25_000;

test("no seed breaks a rule", { timeout: 120_000 }, async () => {
  const startedMs = performance.now();
  for (let seed = 1; seed <= SEEDS.most; seed++) {
    if (seed > SEEDS.least && performance.now() - startedMs > LIMIT_MS) break;
    const { violations } = await simulate(seed);
    expect(violations, `replay it: npm run faults -- --seed ${seed} --trace`).toEqual([]);
  }
});

test("a seed is the same history each time, whatever ran before, and another seed is another", async () => {
  const first = await simulate(7, { traced: true });
  const other = await simulate(8);
  const again = await simulate(7, { traced: true });
  expect(again.lines).toEqual(first.lines);
  expect(again.hash).toBe(first.hash);
  expect(other.hash).not.toBe(first.hash);
});

test("seeds reach what matters: every class runs, jobs are sealed, picked again, cancelled, lost and recorded", async () => {
  const seen = new Set<string>();
  for (let seed = 1; seed <= 60; seed++) {
    const { history } = await simulate(seed);
    for (const { subjectClass, sealed } of history.arrivals) seen.add(`${subjectClass}${sealed ? " sealed" : ""}`);
    for (const { type } of history.audit) seen.add(type);
    for (const { kind } of history.disturbances) seen.add(kind);
    for (const { frames } of history.jobs)
      for (const { frame } of frames) seen.add(frame.type === "end" ? frame.status : frame.type);
  }
  const outcomes = [
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
    "job_ended",
    "node_joined",
    "node_lost",
    "node_left",
    "class_mismatch",
  ];
  const faults = ["crash", "stop", "cut", "stall", "pause", "audit", "clock", "policy", "runtime", "forger"];
  expect([...outcomes, ...events, ...faults].filter((what) => !seen.has(what))).toEqual([]);
});
