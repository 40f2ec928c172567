import { RoutingConfig } from "../../bus-schemas/index.ts";
import { decide } from "../../router/policy/decide.ts";
import { FILTERS } from "../../router/policy/filters/index.ts";
import { Fleet } from "../../router/policy/fleet.ts";
import { pickNode } from "../../router/policy/pick.ts";
import { decideRecorded } from "../../router/policy/record-inputs.ts";
import { compilePolicy } from "../../router/policy/policy.ts";
import { contextFor } from "../../router/policy/context.ts";
import { totalScore } from "../../router/policy/score.ts";
import type { Option, RouteRequest } from "../../router/policy/types.ts";
import { seeded } from "../kit/routing.ts";
import type { Bench, Report } from "./bench.ts";
import { paired } from "./harness.ts";
import { MODELS, fleetNode } from "./samples.ts";

const NOW_MS = 1_800_000_000_000;
const NOBODY: ReadonlySet<string> = new Set();

/** Chats as a decision sees them. */
export function jobs(count: number, overrides: Partial<RouteRequest>): RouteRequest[] {
  return Array.from({ length: count }, (_, i) => ({
    jobId: `job-${i}-0000`,
    taskType: "chat",
    dataClass: "P2",
    model: MODELS[i % MODELS.length],
    capabilities: [],
    promptTokens: 300,
    expectedOutputTokens: 210,
    contextTokens: 800,
    vramGb: undefined,
    encrypted: true,
    anonymised: false,
    sessionId: undefined,
    deadlineMs: NOW_MS + 60_000,
    sloMs: 1500,
    batch: false,
    continues: false,
    exclude: NOBODY,
    ...overrides,
  }));
}

export const decideBench: Bench = {
  summary: "decisions at 10, 1,000 and 10,000 nodes, against a plain scan and sort",
  run,
};

/**
 * Decisions against the floor of a plain scan: the same filters and scores over all options, sorted, the best taken (which
 * is what one would write first). Goals to aim at: a pick in 2 µs at 1,000 nodes, in 15 µs at 10,000.
 */
async function run(report: Report): Promise<void> {
  const policy = compilePolicy(RoutingConfig.parse({}), "bench");
  for (const nodes of [10, 1000, 10_000]) {
    const random = seeded(nodes);
    const fleet = new Fleet();
    const records = Array.from({ length: nodes }, (_, i) => fleetNode(i, random));
    for (const record of records) fleet.upsert(record, NOW_MS);
    const named = jobs(64, {});
    const open = jobs(64, { model: undefined });
    const sessions = jobs(64, {}).map((job, i) => ({ ...job, sessionId: `session-${i}` }));
    const many = 20_000;
    const comparison = await paired(
      `decision, ${nodes.toLocaleString("en")} nodes, ${fleet.optionCount.toLocaleString("en")} models on them`,
      {
        "plain scan and sort": () => repeat(named, Math.max(10, 200_000 / nodes), (job) => scan(job, fleet, policy)),
        "pick, model named": () => repeat(named, many, (job) => pickNode(job, fleet, policy, NOW_MS, random)),
        "pick, any model": () => repeat(open, many, (job) => pickNode(job, fleet, policy, NOW_MS, random)),
        "pick, in a session": () => repeat(sessions, many, (job) => pickNode(job, fleet, policy, NOW_MS, random)),
        decide: () => repeat(named, many / 10, (job) => decide(job, fleet, policy, NOW_MS, random)),
        "decide, and note what was read": () =>
          repeat(named, many / 10, (job) => decideRecorded(job, fleet, policy, NOW_MS, random, "bench")),
        "decide, all explained": () =>
          repeat(named, Math.max(10, 50_000 / nodes), (job) => decide(job, fleet, policy, NOW_MS, random, "all")),
        "heartbeat into the fleet": () => repeat(records, many / 2, (record) => fleet.upsert(record, NOW_MS)),
      },
    );
    report.add(comparison);
  }
}

function repeat<T>(items: readonly T[], times: number, work: (item: T) => unknown): number {
  for (let i = 0; i < times; i++) {
    const item = items[i % items.length];
    // Using the result keeps the compiler from leaving the work out.
    if (item === undefined || work(item) === null) throw new Error("nothing came of it");
  }
  return times;
}

function scan(job: RouteRequest, fleet: Fleet, policy: Parameters<typeof contextFor>[2]): Option | undefined {
  const context = contextFor(job, fleet, policy, NOW_MS);
  return [...fleet.options()]
    .filter((option) => FILTERS.every((filter) => filter.reject(option, job, context) === undefined))
    .map((option) => ({ option, score: totalScore(option, job, context) }))
    .sort((a, b) => b.score - a.score)[0]?.option;
}
