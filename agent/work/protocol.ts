import type { ModelProgress, WireError } from "../../bus-schemas/index.ts";
import type { EgressConfig } from "../egress/providers.ts";
import type { RuntimeProblem } from "../runtimes/discover.ts";
import type { ModelOrder, RuntimeChunk, RuntimeJob, RuntimeState } from "../runtimes/runtime.ts";

/** A running embedded runtime, as the work thread reaches it. */
export interface EmbeddedEndpoint {
  baseUrl: string;
  token: string;
  model: string;
  contextLength: number;
  parallelSlots: number;
  /** `sha256:…` of the model's file, where it is the pinned one. */
  digest?: string | undefined;
}

/** What the work thread is started with. */
export interface WorkerConfig {
  endpoints: string[];
  /** Whether the diagnostic runtime is offered from the start. */
  loopback: boolean;
  /** An egress agent: cloud providers, and no runtime of this machine. */
  egress?: EgressConfig | undefined;
}

/** bus thread → work thread. */
export type ToWorker =
  | { type: "run"; id: number; runtime: string; job: RuntimeJob }
  | { type: "manage"; id: number; runtime: string; order: ModelOrder }
  | { type: "cancel"; id: number }
  | { type: "embedded"; endpoint: EmbeddedEndpoint | undefined }
  | { type: "loopback"; offered: boolean }
  | { type: "ping" };

/**
 * work thread → bus thread. Each `run` ends with one `done` chunk, one `failed` or, after `cancel`, one `stopped`; each `manage`
 * with one `managed`, `failed` or `stopped`.
 */
export type FromWorker =
  | { type: "runtimes"; runtimes: RuntimeState[]; problems: RuntimeProblem[] }
  | { type: "chunk"; id: number; chunk: RuntimeChunk }
  | { type: "progress"; id: number; progress: ModelProgress }
  | { type: "managed"; id: number }
  | { type: "failed"; id: number; error: WireError }
  | { type: "stopped"; id: number }
  | { type: "pong" };
