import type { Load, MeshError, NodeRecord, Outcome, ScoreTerms, Timing } from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import type { EventPublisher } from "../service/events.ts";
import { subscribeHeartbeats } from "../service/heartbeats.ts";
import type { Rejections } from "../service/rejections.ts";
import type { Dispatch } from "./dispatch-table.ts";
import { corrected } from "./peak-ewma.ts";
import { leaseMs } from "./policy/filters/lease.ts";
import { Fleet } from "./policy/fleet.ts";
import { SealKeyOwners } from "./seal-key-owners.ts";

/** A node that is gone is forgotten after this time, milliseconds. */
const FORGET_AFTER_MS = 10 * 60_000;
/** A node that said its last word ends its jobs within this time, or has lost them (an agent drains for 7 s), milliseconds. */
const LEAVE_LIMIT_MS = 10_000;
/** Sweeps further apart than this mean that this process slept or was busy: the heartbeats wait unread, milliseconds. */
const LAG_LIMIT_MS = 1500;

/** Of a dispatch, what its ending is compared with. */
interface Predicted extends Pick<Dispatch, "nodeId" | "request"> {
  decision: { score: Pick<ScoreTerms, "predicted_ms"> | null };
}

/**
 * The fleet as this router knows it: heartbeats, and what its own jobs taught it since. Rebuilt from the bus within one
 * heartbeat (DESIGN promise 5). Ages are by our own clock from reception; a sender's clock is never trusted.
 */
export class FleetView {
  readonly fleet = new Fleet();
  readonly #events: Pick<EventPublisher, "record">;
  readonly #clock: () => number;
  /** Boot of each node that is there now. */
  readonly #present = new Map<string, { bootId: string | null; seq: number }>();
  /** When each node said its last word, while its jobs may still run. */
  readonly #left = new Map<string, number>();
  /** Nodes are not judged by their silence before this time: we were silent ourselves. */
  #judgeFromMs = 0;
  #sweptAtMs: number | undefined;
  readonly #sealKeys = new SealKeyOwners();
  #onRejected: (error: MeshError) => void = () => undefined;
  readonly #onLost: ((nodeId: string) => void)[] = [];
  readonly #onHeard: (() => void)[] = [];

  /** @param clock the time that reception is measured on, milliseconds; a simulator brings its own. */
  constructor(events: Pick<EventPublisher, "record">, clock: () => number = Date.now) {
    this.#events = events;
    this.#clock = clock;
  }

  start(bus: Bus, rejections: Rejections): void {
    this.#onRejected = (error) => rejections.add("heartbeat", error);
    subscribeHeartbeats(bus, (record) => this.onHeartbeat(record, this.#clock()), this.#onRejected);
  }

  /** Nodes that can be chosen now, before any job's needs. */
  get readyCount(): number {
    return [...this.#present.keys()].filter((id) => this.fleet.view(id)?.record.status === "healthy").length;
  }

  onLost(listener: (nodeId: string) => void): void {
    this.#onLost.push(listener);
  }

  /** Calls back after each heartbeat that was taken in. */
  onHeard(listener: () => void): void {
    this.#onHeard.push(listener);
  }

  onHeartbeat(record: NodeRecord, nowMs: number): void {
    const { node_id: nodeId, layer, boot_id: bootId, seq, status } = record;
    const known = this.#present.get(nodeId);
    // An older message of the same boot, delivered late or sent again, says nothing new.
    if (known !== undefined && known.bootId === bootId && bootId !== null && seq <= known.seq) return;
    const stolen = this.#sealKeys.claim(record);
    if (stolen !== undefined) return this.#onRejected(stolen);
    if (status === "leaving") {
      this.#sealKeys.release(nodeId);
      this.fleet.upsert(record, nowMs).gone = true;
      if (known === undefined) return;
      this.#present.delete(nodeId);
      this.#left.set(nodeId, nowMs);
      this.#events.record("node_left", { node_id: nodeId, layer, reason: record.status_reason });
      return;
    }
    this.fleet.upsert(record, nowMs);
    for (const listener of this.#onHeard) listener();
    this.#present.set(nodeId, { bootId, seq });
    if (known !== undefined && known.bootId === bootId) return;
    // A new boot: whatever the old one ran is lost, if it has not ended it before its last word.
    if (this.#left.delete(nodeId) || known !== undefined) this.#announceLost(nodeId);
    this.#events.record("node_joined", {
      node_id: nodeId,
      layer,
      boot_id: bootId,
      hostname: record.hostname,
      models: record.models,
    });
  }

  /** Notices nodes that fell silent; call it about twice a second. */
  sweep(nowMs: number): void {
    const lagged = this.#sweptAtMs !== undefined && nowMs - this.#sweptAtMs > LAG_LIMIT_MS;
    this.#sweptAtMs = nowMs;
    // Blames itself first (DESIGN §3): every node gets the time to be heard again.
    if (lagged) this.#judgeFromMs = nowMs + LAG_LIMIT_MS;
    if (nowMs < this.#judgeFromMs) return;
    for (const view of this.fleet.views) {
      const { node_id: nodeId, layer, interval_ms: intervalMs } = view.record;
      const silentMs = nowMs - view.receivedAtMs;
      if (silentMs > FORGET_AFTER_MS) this.fleet.remove(nodeId);
      if (!this.#present.has(nodeId) || silentMs <= leaseMs(intervalMs)) continue;
      this.#present.delete(nodeId);
      this.#sealKeys.release(nodeId);
      view.gone = true;
      this.#announceLost(nodeId);
      this.#events.record("node_lost", { node_id: nodeId, layer, silent_ms: Math.round(silentMs) });
    }
    for (const [nodeId, leftAtMs] of this.#left) {
      if (nowMs - leftAtMs <= LEAVE_LIMIT_MS) continue;
      this.#left.delete(nodeId);
      this.#announceLost(nodeId);
    }
  }

  onDispatch(nodeId: string): void {
    const view = this.fleet.view(nodeId);
    if (view === undefined) return;
    view.ownInFlight++;
    view.dispatchedSinceHeartbeat++;
  }

  /** A job of ours is no longer there. */
  onDone(nodeId: string): void {
    const view = this.fleet.view(nodeId);
    if (view !== undefined) view.ownInFlight = Math.max(0, view.ownInFlight - 1);
  }

  /** Fresh load from a verdict. */
  onLoad(nodeId: string, load: Load): void {
    this.fleet.updateLoad(nodeId, load);
  }

  onRefused(nodeId: string): void {
    this.#correct(nodeId, undefined, undefined);
  }

  /** No word within the accept limit: a hiccup until a heartbeat is missed, so it is only scored down. */
  onSilent(nodeId: string): void {
    this.onDone(nodeId);
    this.#correct(nodeId, undefined, undefined);
  }

  /** The broker says that nobody listens there: not chosen until its next heartbeat. */
  onGone(nodeId: string): void {
    this.onDone(nodeId);
    const view = this.fleet.view(nodeId);
    if (view !== undefined) view.gone = true;
  }

  /** Learns how far the prediction was off. */
  observe({ nodeId, decision, request }: Predicted, timing: Timing, status: Outcome): void {
    if (status === "cancelled") return;
    const firstMs = timing.ttft_ms === null ? undefined : timing.queued_ms + timing.ttft_ms;
    const observedMs = status !== "finished" ? undefined : request.batch ? timing.total_ms : firstMs;
    this.#correct(nodeId, decision.score?.predicted_ms, observedMs);
  }

  #correct(nodeId: string, predictedMs: number | undefined, observedMs: number | undefined): void {
    const view = this.fleet.view(nodeId);
    if (view === undefined) return;
    const nowMs = this.#clock();
    view.correction = corrected(view.correction, predictedMs, observedMs, nowMs - view.correctedAtMs);
    view.correctedAtMs = nowMs;
  }

  #announceLost(nodeId: string): void {
    for (const listener of this.#onLost) listener(nodeId);
  }
}
