import { hostname } from "node:os";
import {
  NODE_SCHEMA_VERSION,
  type Hardware,
  type Layer,
  type NodeRecord,
  type SealKey,
  type SleepRecord,
} from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import { encode } from "../service/codec.ts";
import type { Log } from "../service/log.ts";
import { startLoop } from "../service/loop.ts";
import { headersFor } from "../service/messages.ts";
import { VERSION } from "../service/version.ts";
import type { Description } from "./description.ts";
import type { Ended } from "./job.ts";
import { movingAverage } from "./model/moving-average.ts";
import type { RuntimeDesk } from "./runtime-desk.ts";
import type { Stance } from "./stance.ts";

/** Heartbeats are sent this often, milliseconds (DESIGN §2). */
export const HEARTBEAT_EVERY_MS = 1000;

/** The bus's bound on a rate (bus-schemas/units.ts): a whole answer in one burst must not make the record a lie. */
const MAX_TOKENS_PER_SECOND = 10_000_000;

export interface HeartbeatParts {
  bus: Bus;
  nodeId: string;
  /** New at each start of the agent. */
  bootId: string;
  sealKeys: () => SealKey[];
  layer: Layer;
  costFactor: number;
  /** Where the machine stands; null = nobody has said it. */
  jurisdiction?: string | null;
  stance: Stance;
  /** Kind of machine (manners/settings.ts). */
  profile: string;
  /** What operators call it, and their labels. */
  description: Pick<Description, "name" | "labels">;
  desk: RuntimeDesk;
  hardware: () => Hardware;
  /** Networks where it can wake a neighbour. */
  networks?: () => string[];
  /** Asked at each heartbeat; null = awake. */
  sleep?: () => SleepRecord | null;
  log: Log;
}

/** Builds and sends this node's record. It runs on the bus thread, so a heartbeat says that the way of the jobs is open. */
export class Heartbeat {
  readonly #parts: HeartbeatParts;
  readonly #startedAtMs = performance.now();
  readonly #hostname = hostname().slice(0, 200) || null;
  #seq = 0;
  #averageMs: number | null = null;
  #tokensPerSecond: number | null = null;

  constructor(parts: HeartbeatParts) {
    this.#parts = parts;
  }

  start(signal: AbortSignal) {
    const onError = (error: unknown) => this.#parts.log.warn({ err: error }, "a heartbeat could not be sent");
    return startLoop(
      { name: "heartbeat", everyMs: HEARTBEAT_EVERY_MS, jitter: 0.05, onError },
      () => this.send(),
      signal,
    );
  }

  /** While the bus is away nothing is sent: a heartbeat delivered late would be a lie. */
  send(): void {
    const { bus, layer, nodeId, sleep } = this.#parts;
    // Asked without a bus too: it tells by the time since it was asked before whether the machine was away.
    const asleep = sleep?.() ?? null;
    if (!bus.connected()) return;
    bus.nc.publish(bus.subjects.heartbeat(layer, nodeId), encode(this.record(asleep), "shared"), {
      headers: headersFor("shared"),
    });
  }

  /** Learns from a finished job; one that failed at once or was cancelled says nothing about how fast the node is. */
  onEnded({ status, event: { timing, usage } }: Ended): void {
    if (timing === null || status !== "finished") return;
    this.#averageMs = movingAverage(this.#averageMs, timing.total_ms);
    const generatingMs = timing.ttft_ms === null ? 0 : timing.total_ms - timing.ttft_ms;
    if (usage !== null && generatingMs > 0) {
      const rate = Math.min(MAX_TOKENS_PER_SECOND, (usage.completion_tokens * 1000) / generatingMs);
      this.#tokensPerSecond = movingAverage(this.#tokensPerSecond, rate);
    }
  }

  /** Every key of the schema in its order, so that the shared msgpack structures fit (bus-schemas/structures.ts). */
  record(sleep: SleepRecord | null = null): NodeRecord {
    const {
      bootId,
      costFactor,
      description,
      desk,
      hardware,
      jurisdiction = null,
      layer,
      networks,
      nodeId,
      profile,
      sealKeys,
      stance,
    } = this.#parts;
    const { status, reason } =
      sleep === null ? stance.status : { status: "suspended" as const, reason: "about to sleep" };
    const models = desk.models;
    const load = desk.load();
    return {
      node_id: nodeId,
      layer,
      status,
      status_reason: reason,
      schema_version: NODE_SCHEMA_VERSION,
      version: VERSION,
      hostname: this.#hostname,
      boot_id: bootId,
      seq: this.#seq++,
      interval_ms: HEARTBEAT_EVERY_MS,
      hardware: hardware(),
      models: [...new Set(models.map((model) => model.name))],
      served_models: models,
      runtimes: desk.runtimes,
      load,
      name: description.name,
      profile,
      allowed_slots: status === "healthy" ? load.slots : 0,
      performance: {
        avg_latency_ms: round(this.#averageMs),
        tokens_per_second: round(this.#tokensPerSecond),
        uptime_hours: round((performance.now() - this.#startedAtMs) / 3_600_000),
      },
      cost_factor: costFactor,
      seal_keys: sealKeys(),
      networks: networks?.() ?? [],
      sleep,
      labels: { ...description.labels },
      jurisdiction,
      last_heartbeat: new Date().toISOString(),
    };
  }
}

function round(value: number | null): number | null {
  return value === null ? null : Math.round(value * 100) / 100;
}
