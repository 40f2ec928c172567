import type { DataClass, Layer } from "../bus-schemas/index.ts";

/** Who ran a job, as an accepted frame or a result says it. */
export interface Placement {
  job_id: string;
  node_id: string | null;
  layer: Layer | null;
  model: string | null;
  security_level: DataClass | null;
  decision_id: string | null;
  diagnostic: boolean;
  /** Of an accepted frame whose model has to be loaded first. */
  cold_start_ms?: number | null;
}

/** Path below which the receipts of jobs are. */
export const RECEIPTS_PATH = "/v1/receipts/";

/** The salt by which input and answer of this call are committed to in the record. */
export const SALT_HEADER = "x-tiermesh-commitment-salt";

/** Response headers that say where a job ran and under which class; `x-tiermesh-diagnostic` when no model was run. */
export function meshHeaders(placement: Placement): Record<string, string> {
  const headers: Record<string, string> = {
    "x-tiermesh-job": placement.job_id,
    "x-tiermesh-receipt": RECEIPTS_PATH + placement.job_id,
  };
  if (placement.node_id !== null) headers["x-tiermesh-node"] = placement.node_id;
  if (placement.layer !== null) headers["x-tiermesh-layer"] = placement.layer;
  if (placement.security_level !== null) headers["x-tiermesh-class"] = placement.security_level;
  if (placement.model !== null) headers["x-tiermesh-model"] = headerText(placement.model);
  if (placement.decision_id !== null) headers["x-tiermesh-decision"] = headerText(placement.decision_id);
  if (placement.cold_start_ms !== undefined && placement.cold_start_ms !== null)
    headers["x-tiermesh-cold-start-ms"] = String(placement.cold_start_ms);
  if (placement.diagnostic) headers["x-tiermesh-diagnostic"] = "true";
  return headers;
}

/** Header values are visible ASCII; anything else, such as a model's name in Chinese, is percent-encoded. */
function headerText(value: string): string {
  return /^[\x21-\x7e]+( [\x21-\x7e]+)*$/.test(value) ? value : encodeURIComponent(value.toWellFormed());
}
