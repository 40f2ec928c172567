import { coldStartMs, type Layer } from "../../bus-schemas/index.ts";
import type { DecisionContext, NodeView, Option, RouteRequest } from "./types.ts";

/**
 * Rates assumed until a node has learned its own, by layer: prompt tokens read per second, milliseconds per token
 * written. L0: a 7B model at 4 bits on a laptop GPU or Apple M3; L1: a 70B model on a server GPU; L2: a cloud API.
 * Orders of magnitude only: the first answers replace them.
 */
const ASSUMED: Record<Layer, { prefillPerSecond: number; msPerToken: number }> = {
  L0: { prefillPerSecond: 400, msPerToken: 40 },
  L1: { prefillPerSecond: 1500, msPerToken: 30 },
  L2: { prefillPerSecond: 5000, msPerToken: 15 },
};
/** The slowest rate that is believed, tokens per second. */
const LEAST_RATE = 1;

export interface Prediction {
  /** Time to the first token, milliseconds. */
  ttftMs: number;
  /** Time to the last one. */
  totalMs: number;
}

/** Slots of a node; one when it does not say. */
export function slotsOf({ record }: NodeView): number {
  return Math.max(record.load?.slots ?? 1, 1);
}

/** Jobs on the node by its own last word. */
export function reportedJobs({ record }: NodeView): number {
  return (record.load?.running ?? 0) + (record.load?.queued ?? 0);
}

/** Jobs on the node by now: what it said, and what live routers have sent there since, as far as we can tell. */
export function jobsOn(view: NodeView, { liveRouters }: Pick<DecisionContext, "liveRouters">): number {
  return reportedJobs(view) + liveRouters * view.dispatchedSinceHeartbeat;
}

/**
 * When the first and the last token would come, by DESIGN §3:
 * `wait = max(0, run − slots + 1)/slots · mean service time`;
 * `TTFT = rtt + wait + (pending prefill + prompt tokens)/prefill rate`; `total = TTFT + expected output · time per token`;
 * a model that is not loaded adds its load time (bus-schemas/cold-start.ts); the sum is multiplied by the node's Peak-EWMA correction.
 */
export function predict(option: Option, request: RouteRequest, context: DecisionContext): Prediction {
  const { view, served } = option;
  const { load, performance } = view.record;
  const prefillPerMs = prefillTokensPerMs(option);
  const outputMs = request.expectedOutputTokens * msPerToken(option);
  const serviceMs = performance.avg_latency_ms ?? request.promptTokens / prefillPerMs + outputMs;
  const slots = slotsOf(view);
  const waitMs = (Math.max(0, jobsOn(view, context) - slots + 1) / slots) * serviceMs;
  const pendingTokens = load?.pending_prefill_tokens ?? 0;
  const ttftMs =
    (view.rttMs + waitMs + coldStartMs(served) + (pendingTokens + request.promptTokens) / prefillPerMs) *
    view.correction;
  return { ttftMs, totalMs: ttftMs + outputMs * view.correction };
}

/** The prediction that counts for the job: to the end for batches, else to the first token. */
export function predictedMs(option: Option, request: RouteRequest, context: DecisionContext): number {
  const { ttftMs, totalMs } = predict(option, request, context);
  return request.batch ? totalMs : ttftMs;
}

/** How long the model works on the job: reading the prompt and writing the answer, without any waiting. Milliseconds. */
export function workMs(option: Option, request: RouteRequest): number {
  return request.promptTokens / prefillTokensPerMs(option) + request.expectedOutputTokens * msPerToken(option);
}

function prefillTokensPerMs({ served, layer }: Option): number {
  return Math.max(served.prefill_tokens_per_second ?? ASSUMED[layer].prefillPerSecond, LEAST_RATE) / 1000;
}

/** The model's own rate, else the node's (SEED `tokens_per_second`), else the layer's. */
function msPerToken({ view, served, layer }: Option): number {
  if (served.ms_per_token !== null) return served.ms_per_token;
  const perSecond = view.record.performance.tokens_per_second;
  return perSecond === null ? ASSUMED[layer].msPerToken : 1000 / Math.max(perSecond, LEAST_RATE);
}
