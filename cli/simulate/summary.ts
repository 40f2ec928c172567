import { LAYERS, type Layer } from "../../bus-schemas/index.ts";
import type { Policy } from "../../router/policy/types.ts";
import type { FleetFile } from "./fleet-file.ts";
import { ascending, percentile } from "./percentiles.ts";
import type { SimNode } from "./node.ts";
import type { SimResult } from "./world.ts";

/** The first jobs meet nodes that have learned no rates yet; this share of them is left out of the numbers. */
const WARM_UP_SHARE = 0.1;

export interface Spread {
  p50: number | null;
  p90: number | null;
  p99: number | null;
  mean: number | null;
}

/** What one simulated run came to. Times in milliseconds. */
export interface Summary {
  jobs: number;
  finished: number;
  expired: number;
  refused: number;
  /** Refused jobs by error code. */
  refused_by: Record<string, number>;
  /** Of what is counted: all but the first tenth. */
  ttft_ms: Spread;
  total_ms: Spread;
  /** Share of slot time in use. */
  utilisation: { layers: Partial<Record<Layer, number>>; nodes: { node_id: string; layer: Layer; share: number }[] };
  jobs_by_layer: Partial<Record<Layer, number>>;
  dispatches: number;
  /** Dispatches that a node refused, as a share of all. */
  nak_rate: number;
  /** The same by error code, counted. */
  naks: Record<string, number>;
  redispatches: number;
  /** Prompt tokens found in prefix caches, as a share of all. */
  cached_prompt_share: number;
  /** By the policy's `cost_per_1k_tokens` times the node's `cost_factor`, US dollars; null where it has no price of a model. */
  token_cost_usd: number | null;
  /** Null where a node of L0 or L1 does not say its power. */
  energy_kwh: number | null;
  electricity_usd: number | null;
  span_seconds: number;
}

export function summarise(result: SimResult, fleet: FleetFile, policy: Policy): Summary {
  const counted = endingsOf(result);
  const by = (status: string) => result.jobs.filter((job) => job.ending?.status === status).length;
  const energyKwh = energy(result);
  let [prompt, cached, usd] = [0, 0, 0];
  const jobsByLayer: Summary["jobs_by_layer"] = {};
  const costFactors = new Map(result.nodes.map((node) => [node.id, node.group.cost_factor]));
  for (const { arrival, ending } of result.jobs) {
    if (ending === undefined || ending.layer === null || ending.model === null) continue;
    prompt += arrival.promptTokens;
    cached += ending.cachedTokens;
    jobsByLayer[ending.layer] = (jobsByLayer[ending.layer] ?? 0) + 1;
    const price = policy.models.get(ending.model)?.cost_per_1k_tokens ?? Number.NaN;
    usd += ((arrival.promptTokens + arrival.outputTokens) / 1000) * price * (costFactors.get(ending.nodeId ?? "") ?? 1);
  }
  return {
    jobs: result.jobs.length,
    finished: by("finished"),
    expired: by("expired"),
    refused: by("refused"),
    refused_by: refusedBy(result),
    ttft_ms: spread(counted.flatMap((ending) => ending.ttftMs ?? [])),
    total_ms: spread(counted.map((ending) => ending.totalMs)),
    utilisation: utilisation(result),
    jobs_by_layer: jobsByLayer,
    dispatches: result.dispatches,
    naks: result.naks,
    nak_rate: result.dispatches === 0 ? 0 : result.refusals / result.dispatches,
    redispatches: result.redispatches,
    cached_prompt_share: prompt === 0 ? 0 : cached / prompt,
    token_cost_usd: Number.isNaN(usd) ? null : usd,
    energy_kwh: energyKwh,
    electricity_usd: energyKwh === null ? null : energyKwh * fleet.electricity_usd_per_kwh,
    span_seconds: result.spanMs / 1000,
  };
}

/** Times of finished and expired jobs after the warm-up: an expired one counts with the time that it was waited for. */
export function latencies(result: SimResult): { ttftMs: number[]; totalMs: number[] } {
  const counted = endingsOf(result);
  return {
    ttftMs: ascending(counted.flatMap((ending) => ending.ttftMs ?? [])),
    totalMs: ascending(counted.map((ending) => ending.totalMs)),
  };
}

function refusedBy({ jobs }: SimResult): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { ending } of jobs) {
    const code = ending?.code ?? null;
    if (code !== null) counts[code] = (counts[code] ?? 0) + 1;
  }
  return counts;
}

function endingsOf({ jobs }: SimResult) {
  const rest = jobs.slice(Math.floor(jobs.length * WARM_UP_SHARE));
  return rest.flatMap(({ ending }) => (ending === undefined || ending.status === "refused" ? [] : [ending]));
}

function spread(numbers: readonly number[]): Spread {
  const sorted = ascending(numbers);
  return {
    p50: percentile(sorted, 0.5),
    p90: percentile(sorted, 0.9),
    p99: percentile(sorted, 0.99),
    mean: sorted.length === 0 ? null : sorted.reduce((sum, number) => sum + number, 0) / sorted.length,
  };
}

function utilisation({ nodes, spanMs }: SimResult): Summary["utilisation"] {
  const share = (busyMs: number, slots: number) => (spanMs === 0 ? 0 : busyMs / (slots * spanMs));
  const layers: Partial<Record<Layer, number>> = {};
  for (const layer of LAYERS) {
    const there = nodes.filter((node) => node.group.layer === layer);
    if (there.length > 0)
      layers[layer] = share(
        sum(there, (node) => node.busyMs),
        sum(there, (node) => node.group.slots),
      );
  }
  const each = nodes.map((node) => ({
    node_id: node.id,
    layer: node.group.layer,
    share: share(node.busyMs, node.group.slots),
  }));
  return { layers, nodes: each };
}

/** Power grows with the share of slots in use, from idle to busy. */
function energy({ nodes, spanMs }: SimResult): number | null {
  let wattMs = 0;
  for (const { group, busyMs } of nodes) {
    if (group.watts !== undefined)
      wattMs += group.watts.idle * spanMs + ((group.watts.busy - group.watts.idle) * busyMs) / group.slots;
    else if (group.layer !== "L2") return null;
  }
  return wattMs / 3.6e9;
}

function sum(nodes: readonly SimNode[], of: (node: SimNode) => number): number {
  return nodes.reduce((total, node) => total + of(node), 0);
}
