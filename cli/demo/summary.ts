import type { ScoreTerms } from "../../bus-schemas/index.ts";
import type { DemoJob } from "./traffic.ts";

/** What one node did with one kind of job by one model. */
export interface Served {
  kind: string;
  node_id: string;
  layer: string | null;
  model: string | null;
  diagnostic: boolean;
  jobs: number;
  ttft_ms_median: number | null;
  tokens_per_second_median: number | null;
  /** Of all its jobs; null where the node does not know its power. */
  energy_wh: number | null;
  /** Mean of the terms by which it was chosen. */
  score: ScoreTerms | null;
}

export interface DemoSummary {
  jobs: number;
  finished: number;
  /** By node, kind and model, in the order of kinds. */
  served: Served[];
  /** Jobs that did not finish though a router had said that they could run. */
  failures: DemoJob[];
  energy_wh: number | null;
}

/** Who served what, how fast and at what energy. A job that the person stopped is no failure. */
export function summarise(all: readonly DemoJob[]): DemoSummary {
  const jobs = all.filter(({ status }) => status !== "cancelled");
  const groups = new Map<string, DemoJob[]>();
  for (const job of jobs) {
    if (job.status !== "finished" || job.node_id === null) continue;
    const key = JSON.stringify([job.kind, job.node_id, job.model]);
    groups.set(key, [...(groups.get(key) ?? []), job]);
  }
  const served = [...groups.values()].map(servedBy).toSorted((a, b) => compare(a.kind, b.kind) || b.jobs - a.jobs);
  return {
    jobs: jobs.length,
    finished: jobs.filter(({ status }) => status === "finished").length,
    served,
    failures: jobs.filter(({ status }) => status !== "finished"),
    energy_wh: sum(served.map(({ energy_wh: wh }) => wh)),
  };
}

function servedBy(jobs: readonly DemoJob[]): Served {
  const [first] = jobs;
  const scores = jobs.flatMap(({ score }) => score ?? []);
  return {
    kind: first?.kind ?? "",
    node_id: first?.node_id ?? "",
    layer: first?.layer ?? null,
    model: first?.model ?? null,
    diagnostic: first?.diagnostic ?? false,
    jobs: jobs.length,
    ttft_ms_median: median(jobs.flatMap(({ ttft_ms: ms }) => ms ?? [])),
    tokens_per_second_median: median(jobs.flatMap(({ tokens_per_second: rate }) => rate ?? [])),
    energy_wh: sum(jobs.map(({ energy_wh: wh }) => wh)),
    score: meanScore(scores),
  };
}

function meanScore(scores: readonly ScoreTerms[]): ScoreTerms | null {
  if (scores.length === 0) return null;
  const mean = (of: (score: ScoreTerms) => number | null) => {
    const known = scores.flatMap((score) => of(score) ?? []);
    return known.length === 0 ? 0 : known.reduce((total, value) => total + value, 0) / known.length;
  };
  return {
    total: mean(({ total }) => total),
    security: mean(({ security }) => security),
    capability: mean(({ capability }) => capability),
    latency: mean(({ latency }) => latency),
    cost: mean(({ cost }) => cost),
    predicted_ms: mean(({ predicted_ms }) => predicted_ms),
  };
}

/** Of what is known; null when nothing is. */
function sum(values: readonly (number | null)[]): number | null {
  const known = values.flatMap((value) => value ?? []);
  return known.length === 0 ? null : known.reduce((total, value) => total + value, 0);
}

function median(values: readonly number[]): number | null {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [upper, lower] = [sorted[middle], sorted[middle - 1]];
  if (upper === undefined) return null;
  return sorted.length % 2 === 1 || lower === undefined ? upper : (lower + upper) / 2;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
