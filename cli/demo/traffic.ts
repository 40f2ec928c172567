import type { JobResult, ScoreTerms } from "../../bus-schemas/index.ts";
import type { MeshClient } from "../../client/index.ts";
import { newId } from "../../service/ids.ts";
import { pause } from "../../service/loop.ts";
import { DecisionWatch } from "../decisions.ts";
import type { TrafficKind } from "./kinds.ts";

/** One job of the demonstration, as its caller saw it. */
export interface DemoJob {
  kind: string;
  job_id: string;
  status: JobResult["status"];
  node_id: string | null;
  layer: string | null;
  model: string | null;
  diagnostic: boolean;
  attempts: number;
  /** From the sending to the first piece of the answer, milliseconds; null where there was none (an embedding has no pieces). */
  ttft_ms: number | null;
  total_ms: number;
  tokens: number | null;
  /** From the first piece of the answer to its end. */
  tokens_per_second: number | null;
  energy_wh: number | null;
  /** Why the router chose that node: its score and its sentence. */
  score: ScoreTerms | null;
  reason: string | null;
  error: { code: string; message: string } | null;
}

export interface TrafficOptions {
  kinds: readonly TrafficKind[];
  /** New jobs begin for so long, milliseconds. */
  forMs: number;
  /** Pause between the beginnings of two jobs, milliseconds. */
  everyMs: number;
  /** Jobs under way at a time, at most: gentle means that others notice nothing. */
  atOnce: number;
  /** A job may take so long, milliseconds. */
  limitMs: number;
  onEnded: (job: DemoJob) => void;
}

/** The decision is recorded before the job is dispatched, so it is here before the answer; milliseconds. */
const DECISION_LIMIT_MS = 1000;

/** Sends jobs of each kind in turn until the time is over or `signal` aborts, and waits for those that are under way. */
export async function runTraffic(client: MeshClient, options: TrafficOptions, signal: AbortSignal): Promise<DemoJob[]> {
  const { kinds, forMs, everyMs, atOnce, onEnded } = options;
  using decisions = new DecisionWatch(client);
  const jobs: DemoJob[] = [];
  const under = new Set<Promise<void>>();
  const untilMs = performance.now() + forMs;
  for (let i = 0; !signal.aborted && performance.now() < untilMs; i++) {
    const kind = kinds[i % kinds.length];
    if (kind === undefined) break;
    const one = runOne(client, kind, decisions, options.limitMs, signal).then((job) => {
      jobs.push(job);
      onEnded(job);
      under.delete(one);
    });
    under.add(one);
    await pause(everyMs, signal);
    // Also when the time is over: the last ones are waited for below.
    if (under.size >= atOnce) await Promise.race(under);
  }
  await Promise.all(under);
  return jobs;
}

/** Never throws: what can go wrong is in the result. */
async function runOne(
  client: MeshClient,
  { name, request }: TrafficKind,
  decisions: DecisionWatch,
  limitMs: number,
  signal: AbortSignal,
): Promise<DemoJob> {
  const jobId = newId();
  decisions.expect(jobId);
  const sentMs = performance.now();
  let firstMs: number | undefined;
  let result: JobResult | undefined;
  for await (const frame of client.stream({ ...request, job_id: jobId, timeout_ms: limitMs }, { signal })) {
    if (frame.type === "delta") firstMs ??= performance.now();
    if (frame.type === "end") result = frame;
  }
  const endMs = performance.now();
  const decision = await decisions.of(jobId, DECISION_LIMIT_MS);
  const tokens = result?.usage?.completion_tokens ?? null;
  const answeringMs = firstMs === undefined ? 0 : endMs - firstMs;
  return {
    kind: name,
    job_id: jobId,
    status: result?.status ?? "failed",
    node_id: result?.node_id ?? null,
    layer: result?.layer ?? null,
    model: result?.model ?? null,
    diagnostic: result?.diagnostic ?? false,
    attempts: result?.attempts ?? 0,
    ttft_ms: firstMs === undefined ? null : Math.round(firstMs - sentMs),
    total_ms: Math.round(endMs - sentMs),
    tokens,
    tokens_per_second: tokens === null || tokens < 2 || answeringMs < 1 ? null : ((tokens - 1) * 1000) / answeringMs,
    energy_wh: result?.energy_wh ?? null,
    score: decision?.score ?? null,
    reason: decision?.reason ?? null,
    error: result?.error === null || result === undefined ? null : pick(result.error),
  };
}

function pick({ code, message }: { code: string; message: string }): { code: string; message: string } {
  return { code, message };
}
