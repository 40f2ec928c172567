import { LAYERS } from "../../bus-schemas/index.ts";
import { table } from "../format/table.ts";
import type { Offer, Plan, StrategyRun } from "./plan.ts";
import type { Spread, Summary } from "./summary.ts";

/** A strategy's p99 over the oracle's; null without an oracle or without times. */
export interface Gap {
  ttft_p99: number | null;
  total_p99: number | null;
}

export function gapToOracle({ summary }: StrategyRun, runs: readonly StrategyRun[]): Gap {
  const oracle = runs.find(({ strategy }) => strategy === "oracle")?.summary;
  return {
    ttft_p99: ratio(summary.ttft_ms, oracle?.ttft_ms),
    total_p99: ratio(summary.total_ms, oracle?.total_ms),
  };
}

/** Everything, for a program: the load, and each strategy's summary. */
export function jsonReport(plan: Plan, offered: Offer, runs: readonly StrategyRun[]) {
  return {
    fleet: plan.fleet.title,
    nodes: nodesOf(plan),
    policy_revision: plan.policy.revision,
    routers: plan.routers,
    heartbeat_ms: plan.heartbeatMs,
    load: plan.load,
    capacity_jobs_per_second: offered.capacityPerSecond,
    jobs_per_second: offered.jobsPerSecond,
    seed: plan.seed,
    runs: runs.map((run) => ({ strategy: run.strategy, ...run.summary, gap_to_oracle: gapToOracle(run, runs) })),
  };
}

/** Tables, for people. */
export function textReport(plan: Plan, offered: Offer, runs: readonly StrategyRun[]): string {
  const { fleet, load, routers, heartbeatMs, seed, policy } = plan;
  const who = `${routers} ${routers === 1 ? "router" : "routers"}, heartbeats of ${heartbeatMs / 1000} s`;
  const rate = `${offered.jobsPerSecond.toFixed(2)} jobs/s = ${Math.round(load * 100)} % of what L0 and L1 can do`;
  const reasons = runs.flatMap(({ strategy, summary: { refused_by: refused, naks } }) => [
    ...Object.entries(refused).map(([code, count]) => [strategy, "job refused", code, String(count)]),
    ...Object.entries(naks).map(([code, count]) => [strategy, "node refused, tried elsewhere", code, String(count)]),
  ]);
  return [
    `${fleet.title}: ${nodesOf(plan)} nodes, ${who}`,
    `${offered.arrivals.length} jobs, ${rate}; policy ${policy.revision}, seed ${seed}`,
    "",
    table([
      ["STRATEGY", "FIRST TOKEN p50", "p90", "p99", "/oracle", "END p50", "p90", "p99", "/oracle"],
      ...runs.map((run) => timesRow(run, gapToOracle(run, runs))),
    ]),
    "",
    table([
      ["STRATEGY", "FINISHED", "EXPIRED", "REFUSED", "SENT AGAIN", "NAK", "PROMPT CACHED"],
      ...runs.map(({ strategy, summary }) => [strategy, ...countCells(summary)]),
    ]),
    "",
    table([
      ["STRATEGY", ...LAYERS.map((layer) => `${layer} BUSY, JOBS`), "TOKENS COST", "ENERGY", "ENERGY COST"],
      ...runs.map(({ strategy, summary }) => [strategy, ...useCells(summary)]),
    ]),
    ...(reasons.length === 0 ? [] : ["", table([["STRATEGY", "WHAT", "CODE", "COUNT"], ...reasons])]),
  ].join("\n");
}

function timesRow({ strategy, summary }: StrategyRun, gap: Gap): string[] {
  const cells = ({ p50, p90, p99 }: Spread) => [seconds(p50), seconds(p90), seconds(p99)];
  const { ttft_ms: first, total_ms: total } = summary;
  return [strategy, ...cells(first), factor(gap.ttft_p99), ...cells(total), factor(gap.total_p99)];
}

function countCells({ finished, expired, refused, redispatches, ...rest }: Summary): string[] {
  const counts = [finished, expired, refused, redispatches].map(String);
  return [...counts, percent(rest.nak_rate), percent(rest.cached_prompt_share)];
}

function useCells(summary: Summary): string[] {
  const { utilisation, jobs_by_layer: jobs, energy_kwh: kwh, electricity_usd: electricity } = summary;
  const layers = LAYERS.map((layer) => {
    const share = utilisation.layers[layer];
    return share === undefined ? "-" : `${percent(share)}, ${jobs[layer] ?? 0}`;
  });
  const energy = kwh === null ? "-" : `${kwh.toFixed(2)} kWh`;
  return [...layers, dollars(summary.token_cost_usd), energy, dollars(electricity)];
}

function nodesOf({ fleet }: Plan): number {
  return fleet.nodes.reduce((sum, group) => sum + group.count, 0);
}

function ratio(mine: Spread, best: Spread | undefined): number | null {
  if (mine.p99 === null || best === undefined || best.p99 === null || best.p99 === 0) return null;
  return mine.p99 / best.p99;
}

function seconds(ms: number | null): string {
  return ms === null ? "-" : `${(ms / 1000).toFixed(2)} s`;
}

function factor(value: number | null): string {
  return value === null ? "-" : value.toFixed(2);
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

function dollars(usd: number | null): string {
  return usd === null ? "-" : `$${usd.toFixed(2)}`;
}
