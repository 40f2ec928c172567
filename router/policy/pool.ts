import { Ring } from "./ring.ts";
import type { NodeView, Option } from "./types.ts";
import { WeightedIndex } from "./weighted-index.ts";

/** More free slots than this count as this many: a node that claims a million does not draw every job. */
const MAX_FREE_SLOTS = 256;
/** A full node is still drawn now and then: its heartbeat may be old. In slots. */
const LEAST_FREE_SLOTS = 0.05;
/** Weights are integers: twentieths of a slot. */
const WEIGHT_PER_SLOT = 20;

/** One node in a pool, with those of its models that belong there. */
export interface Place {
  readonly view: NodeView;
  readonly options: readonly Option[];
}

/** A place and what the pool counts it as, by its node's last heartbeat. */
interface Entry extends Place {
  index: number;
  jobs: number;
  slots: number;
}

/** Weight of a node in drawing: its free slots, an integer, never quite none. */
export function freeWeight(slots: number, jobs: number): number {
  return Math.round(Math.min(Math.max(slots - jobs, LEAST_FREE_SLOTS), MAX_FREE_SLOTS) * WEIGHT_PER_SLOT);
}

/**
 * The nodes that can stand in for each other: those of one layer, or of one layer and model. One is drawn by free capacity
 * in O(log n), one is found for a session in O(log n), and their load is known in O(1).
 */
export class Pool {
  readonly #entries: Entry[] = [];
  readonly #byNode = new Map<string, Entry>();
  readonly #weights = new WeightedIndex();
  #jobs = 0;
  #slots = 0;
  #ring: Ring | undefined;

  get places(): readonly Place[] {
    return this.#entries;
  }

  /** A node's place, by its id. */
  place(nodeId: string): Place | undefined {
    return this.#byNode.get(nodeId);
  }

  /** Jobs on all its nodes, by their heartbeats. */
  get jobs(): number {
    return this.#jobs;
  }

  /** Slots of all its nodes, at least one each. */
  get slots(): number {
    return this.#slots;
  }

  add(view: NodeView, options: readonly Option[]): void {
    const entry: Entry = { view, options, index: this.#entries.length, jobs: 0, slots: 0 };
    this.#entries.push(entry);
    this.#byNode.set(view.record.node_id, entry);
    this.#ring = undefined;
    this.refresh(view.record.node_id);
  }

  /** Counts a node anew from its record. */
  refresh(nodeId: string): void {
    const entry = this.#byNode.get(nodeId);
    if (entry === undefined) return;
    const { load, status } = entry.view.record;
    const jobs = (load?.running ?? 0) + (load?.queued ?? 0);
    const slots = Math.max(load?.slots ?? 1, 1);
    this.#jobs += jobs - entry.jobs;
    this.#slots += slots - entry.slots;
    entry.jobs = jobs;
    entry.slots = slots;
    this.#weights.set(entry.index, status === "healthy" ? freeWeight(slots, jobs) : 0);
  }

  remove(nodeId: string): void {
    const entry = this.#byNode.get(nodeId);
    const last = this.#entries.at(-1);
    if (entry === undefined || last === undefined) return;
    this.#entries.pop();
    this.#byNode.delete(nodeId);
    this.#jobs -= entry.jobs;
    this.#slots -= entry.slots;
    this.#ring = undefined;
    // The last one moves into the gap.
    if (entry !== last) {
      this.#weights.set(entry.index, this.#weights.weight(last.index));
      this.#entries[entry.index] = last;
    }
    this.#weights.set(last.index, 0);
    last.index = entry.index;
  }

  /** A node by free capacity as of its heartbeat; undefined when none is healthy. */
  draw(random: () => number): Place | undefined {
    const index = this.#weights.at(random());
    return index === undefined ? undefined : this.#entries[index];
  }

  /** Nodes in the order in which a session prefers them; one may come more than once. */
  *preferredBy(sessionId: string): Iterable<Place> {
    this.#ring ??= new Ring(this.#entries.map((entry) => entry.view.record.node_id));
    for (const index of this.#ring.from(sessionId)) {
      const place = this.#entries[index];
      if (place !== undefined) yield place;
    }
  }
}
