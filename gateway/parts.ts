import type { Log } from "../service/log.ts";
import type { Metrics } from "../service/metrics.ts";
import type { Exchanges } from "./exchanges.ts";
import type { Mesh, MeshState } from "./mesh.ts";
import type { GatewayMetrics } from "./metrics.ts";

/** Limits of the HTTP side; tests shorten the times. */
export interface GatewayLimits {
  maxBodyBytes: number;
  /** A request's head must be here within this time, milliseconds. */
  headersTimeoutMs: number;
  /** A whole request must be here within this time, milliseconds. */
  requestTimeoutMs: number;
  /** How often these two are checked, milliseconds. */
  checkEveryMs: number;
  /** Silence of a stream after which a comment is sent, milliseconds. */
  sseKeepAliveMs: number;
  /** A stream's reader that takes nothing for this long loses it, milliseconds. */
  sseStallMs: number;
}

/** What routes need; handed to each route's factory once. */
export interface GatewayParts {
  mesh: Mesh;
  state: MeshState;
  metrics: Metrics;
  counters: GatewayMetrics;
  exchanges: Exchanges;
  limits: GatewayLimits;
  log: Log;
  nowMs: () => number;
}
