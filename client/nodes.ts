import type { Subscription } from "@nats-io/nats-core";
import type { NodeRecord } from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import { subscribeHeartbeats } from "../service/heartbeats.ts";
import { subscribeNodesGone } from "../service/nodes-gone.ts";
import { KEEP_ASLEEP_MS } from "../service/sleep-bucket.ts";

/** Heartbeats that may be missed before a node counts as lost. */
const MISSED_LIMIT = 3;
/** A node that left or was lost is forgotten after this time, milliseconds; one that sleeps and can be woken is kept longer. */
const FORGET_AFTER_MS = 10 * 60_000;

/**
 * `joining`: it has no model yet. `ready`, `busy`: takes jobs, with or without a free slot. `cordoned`, `draining`: an
 * operator's word. `suspended`: it cannot or may not take jobs, its reason says why. `asleep`: its
 * machine sleeps. `left`: it said its last word.
 * `disconnected`: the broker lost its connection. `lost`: it fell silent.
 */
export type SeenState =
  | "joining"
  | "ready"
  | "busy"
  | "cordoned"
  | "draining"
  | "suspended"
  | "asleep"
  | "left"
  | "disconnected"
  | "lost";

export interface SeenNode {
  record: NodeRecord;
  state: SeenState;
  /** Since its last heartbeat, by our own monotonic clock, milliseconds. */
  seenAgoMs: number;
}

interface Seen {
  record: NodeRecord;
  atMs: number;
  /** The broker has lost its connection since. */
  gone: boolean;
}

/** The fleet as its heartbeats show it, for display and for listing models; decisions are the router's. */
export class NodeWatcher {
  readonly #seen = new Map<string, Seen>();
  readonly #listeners = new Set<(record: NodeRecord) => void>();
  readonly #bus: Bus;
  readonly #subscriptions: Subscription[];

  constructor(bus: Bus) {
    this.#bus = bus;
    const subscription = subscribeHeartbeats(
      bus,
      (record) => {
        this.#seen.set(record.node_id, { record, atMs: performance.now(), gone: false });
        for (const listener of this.#listeners) listener(record);
      },
      () => undefined,
    );
    this.#subscriptions = [subscription];
  }

  /** Hears from the broker's keeper too whose connection is lost, which only operators may. */
  watchConnections(): void {
    const onGone = (nodeId: string) => {
      const seen = this.#seen.get(nodeId);
      if (seen !== undefined) seen.gone = true;
    };
    this.#subscriptions.push(subscribeNodesGone(this.#bus, onGone, () => undefined));
  }

  /** Every node seen lately, by name. */
  list(): SeenNode[] {
    const nowMs = performance.now();
    const nodes: SeenNode[] = [];
    for (const [id, { record, atMs, gone }] of this.#seen) {
      const seenAgoMs = nowMs - atMs;
      const keepMs = (record.sleep?.mac ?? null) === null ? FORGET_AFTER_MS : KEEP_ASLEEP_MS;
      if (seenAgoMs > keepMs) this.#seen.delete(id);
      else nodes.push({ record, seenAgoMs, state: stateOf(record, seenAgoMs, gone) });
    }
    return nodes.sort((a, b) => a.record.node_id.localeCompare(b.record.node_id));
  }

  /** Calls `listener` at each heartbeat until the returned function is called. */
  onChange(listener: (record: NodeRecord) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves with the first node that takes jobs and `accept`s; rejects when `signal` aborts. */
  ready(accept: (record: NodeRecord) => boolean, signal?: AbortSignal): Promise<NodeRecord> {
    return new Promise((resolve, reject) => {
      const known = this.list().find((node) => takesJobs(node.state) && accept(node.record));
      if (known !== undefined) return resolve(known.record);
      const stop = this.onChange((record) => {
        if (record.status !== "healthy" || !accept(record)) return;
        done();
        resolve(record);
      });
      const onAbort = () => {
        done();
        reject(signal?.reason as Error);
      };
      const done = () => {
        stop();
        signal?.removeEventListener("abort", onAbort);
      };
      if (signal?.aborted) onAbort();
      else signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  close(): void {
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    this.#listeners.clear();
  }
}

/** Whether jobs may be given to a node in this state; one that joins has no model to run them yet. */
export function takesJobs(state: SeenState): boolean {
  return state === "joining" || state === "ready" || state === "busy";
}

function stateOf(record: NodeRecord, seenAgoMs: number, gone: boolean): SeenState {
  const { status, load } = record;
  if (status === "leaving") return "left";
  if (record.sleep !== null) return "asleep";
  if (gone) return "disconnected";
  if (seenAgoMs > MISSED_LIMIT * Math.max(record.interval_ms, 100) * 1.1) return "lost";
  if (status === "degraded") return "suspended";
  if (status !== "healthy") return status;
  if (record.models.length === 0 && record.served_models.length === 0) return "joining";
  return load !== null && load.running >= load.slots ? "busy" : "ready";
}
