import type { NodeRecord } from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import { subscribeHeartbeats } from "../service/heartbeats.ts";

/** Heartbeats that may be missed before a node counts as lost. */
const MISSED_LIMIT = 3;
/** A node that left or was lost is forgotten after this time, milliseconds. */
const FORGET_AFTER_MS = 10 * 60_000;

export type SeenState = "ready" | "degraded" | "draining" | "cordoned" | "left" | "lost";

export interface SeenNode {
  record: NodeRecord;
  state: SeenState;
  /** Since its last heartbeat, by our own monotonic clock, milliseconds. */
  seenAgoMs: number;
}

/** The fleet as its heartbeats show it, for display and for listing models; decisions are the router's. */
export class NodeWatcher {
  readonly #seen = new Map<string, { record: NodeRecord; atMs: number }>();
  readonly #listeners = new Set<(record: NodeRecord) => void>();
  readonly #unsubscribe: () => void;

  constructor(bus: Bus) {
    const subscription = subscribeHeartbeats(
      bus,
      (record) => {
        this.#seen.set(record.node_id, { record, atMs: performance.now() });
        for (const listener of this.#listeners) listener(record);
      },
      () => undefined,
    );
    this.#unsubscribe = () => subscription.unsubscribe();
  }

  /** Every node seen lately, by name. */
  list(): SeenNode[] {
    const nowMs = performance.now();
    const nodes: SeenNode[] = [];
    for (const [id, { record, atMs }] of this.#seen) {
      const seenAgoMs = nowMs - atMs;
      if (seenAgoMs > FORGET_AFTER_MS) this.#seen.delete(id);
      else nodes.push({ record, seenAgoMs, state: stateOf(record, seenAgoMs) });
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
      const known = this.list().find((node) => node.state === "ready" && accept(node.record));
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
    this.#unsubscribe();
    this.#listeners.clear();
  }
}

function stateOf(record: NodeRecord, seenAgoMs: number): SeenState {
  if (record.status === "leaving") return "left";
  if (seenAgoMs > MISSED_LIMIT * Math.max(record.interval_ms, 100) * 1.1) return "lost";
  return record.status === "healthy" ? "ready" : record.status;
}
