import type { Outcome, ScoreTerms, Timing } from "../bus-schemas/index.ts";
import type { Dispatch } from "./dispatch-table.ts";
import { corrected } from "./peak-ewma.ts";
import type { NodeView } from "./policy/types.ts";

/** Of a dispatch, what its ending is compared with. */
export interface Predicted extends Pick<Dispatch, "nodeId" | "request"> {
  decision: { score: Pick<ScoreTerms, "predicted_ms"> | null };
}

/** Learns of a node that a job failed or was refused there. */
export function correctByFailure(view: NodeView, nowMs: number): void {
  correct(view, undefined, undefined, nowMs);
}

/** Learns how far the prediction of a job was off: of its first token, or for batches of its end. */
export function correctByTiming(
  view: NodeView,
  { decision, request }: Predicted,
  timing: Timing,
  status: Outcome,
  nowMs: number,
): void {
  const firstMs = timing.ttft_ms === null ? undefined : timing.queued_ms + timing.ttft_ms;
  const observedMs = status !== "finished" ? undefined : request.batch ? timing.total_ms : firstMs;
  correct(view, decision.score?.predicted_ms, observedMs, nowMs);
}

function correct(view: NodeView, predictedMs: number | undefined, observedMs: number | undefined, nowMs: number): void {
  view.correction = corrected(view.correction, predictedMs, observedMs, nowMs - view.correctedAtMs);
  view.correctedAtMs = nowMs;
}
