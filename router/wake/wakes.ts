import {
  MagicReply,
  MeshError,
  parseOrThrow,
  type MagicOrder,
  type NodeRecord,
  type SleepEntry,
} from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import type { EventPublisher } from "../../service/events.ts";
import { newId } from "../../service/ids.ts";
import type { Log } from "../../service/log.ts";
import type { FleetView } from "../fleet-view.ts";
import type { Fleet } from "../policy/fleet.ts";
import type { Policy, RouteRequest } from "../policy/types.ts";
import { asIfAwake, helpOf } from "../policy/wake.ts";
import { fellAsleep, isReady, mayWake, readyInMs, wakeEnded, wokeUp, type WakeOutcome } from "./entry.ts";
import { Neighbours } from "./neighbours.ts";
import type { Sleepers } from "./sleepers.ts";

/** A neighbour answers within this time, milliseconds: it sends three times with pauses. */
const ANSWER_LIMIT_MS = 5000;
/** Neighbours that are asked for one wake, one after the other until one has sent the packet. */
const MAX_NEIGHBOURS = 3;
/** A wake that could not even be written down is tried again after this time, milliseconds. */
const BLOCKED_MS = 30_000;

/** A machine that sleeps and could take a job. */
export interface WakeHelp {
  nodeId: string;
  /** About so long until it takes jobs, milliseconds. */
  readyMs: number;
  /** The job may wait for it: its deadline and the policy allow that. */
  inTime: boolean;
}

export interface WakesParts {
  id: string;
  bus: Bus;
  fleet: FleetView;
  events: Pick<EventPublisher, "record">;
  log: Log;
  policy: () => Policy;
  sleepers: Pick<Sleepers, "change" | "entries" | "find">;
}

/** Who asked for a wake. A job's obeys the back-off. */
export interface Asker {
  by: string;
  jobId: string | null;
}

/**
 * Wakes machines that sleep (ADR 0024). For the whole cell there is one wake of a machine at a time, because it is written
 * down by compare-and-set before a neighbour is asked; whichever router sees its end first records it.
 */
export class Wakes {
  readonly #parts: WakesParts;
  readonly #neighbours: Neighbours;
  readonly #orders = new Map<string, Promise<void>>();
  /** Nodes whose entry is being changed by what was heard of them. */
  readonly #changing = new Set<string>();
  /** Nodes of whose sleep this router has written. */
  readonly #told = new Set<string>();
  readonly #blockedUntilMs = new Map<string, number>();
  readonly #awake = new WeakMap<NodeRecord, Fleet>();
  #stopped = false;

  constructor(parts: WakesParts) {
    this.#parts = parts;
    this.#neighbours = new Neighbours(parts.fleet.fleet);
  }

  start(): void {
    const { fleet } = this.#parts;
    fleet.onAsleep((record) => this.#onAsleep(record));
    fleet.onHeard((record) => this.#onHeard(record));
  }

  /**
   * Asked before a job is refused for want of a node. Has a machine woken that could take it, if the policy says so.
   * @param waitedMs how long the job has waited already
   */
  help(request: RouteRequest, waitedMs: number): WakeHelp | undefined {
    const { fleet, id, policy } = this.#parts;
    const { routing, layers } = policy();
    const { enabled, max_wait_s: maxWaitS } = routing.wake_on_lan;
    if (!enabled || this.#stopped) return undefined;
    const nowMs = fleet.nowMs();
    const rank = ({ inTime, entry }: Found) => (inTime ? 0 : 10) + layers.any.indexOf(entry.asleep?.layer ?? "L2");
    let best: Found | undefined;
    // What is on its way already first: those who wait for it ask again and again.
    for (const underWay of [true, false]) {
      for (const entry of this.#parts.sleepers.entries) {
        const { asleep, wake } = entry;
        if (asleep === null || (wake !== null) !== underWay || !this.#canHelp(entry, nowMs)) continue;
        const readyMs = readyInMs(entry, nowMs);
        const help = helpOf(this.#fleetOf(asleep), request, fleet.fleet, policy(), nowMs + readyMs);
        if (help === "no") continue;
        const found = { entry, readyMs, inTime: help === "in_time" && waitedMs + readyMs <= maxWaitS * 1000 };
        if (best === undefined || rank(found) < rank(best) || (rank(found) === rank(best) && readyMs < best.readyMs))
          best = found;
      }
      if (best?.inTime === true) break;
    }
    if (best === undefined) return undefined;
    const { entry, readyMs, inTime } = best;
    const { node_id: nodeId } = entry;
    if (entry.wake === null)
      void this.order(nodeId, { by: `router ${id}`, jobId: request.jobId }).catch(() => undefined);
    return { nodeId, readyMs, inTime };
  }

  /**
   * Has a machine woken; a wake that is under way is all there is to do. Fulfils when a neighbour has sent the packet.
   * @throws MeshError why that cannot be: `not_found`, `conflict`, `no_node`, `bus_unavailable`
   */
  order(nodeId: string, asker: Asker): Promise<void> {
    let order = this.#orders.get(nodeId);
    if (order === undefined) {
      order = this.#order(nodeId, asker).finally(() => this.#orders.delete(nodeId));
      this.#orders.set(nodeId, order);
      order.catch((error: unknown) => {
        this.#blockedUntilMs.set(nodeId, this.#parts.fleet.nowMs() + BLOCKED_MS);
        this.#parts.log.warn({ err: error, node: nodeId }, "a machine that sleeps could not be woken");
      });
    }
    return order;
  }

  /** Wakes nobody any more for jobs: they must not wait here for what comes up after this router has stopped. */
  stop(): void {
    this.#stopped = true;
  }

  /** Gives up wakes that took too long; call it about twice a second. */
  sweep(): void {
    const nowMs = this.#parts.fleet.nowMs();
    for (const [nodeId, untilMs] of this.#blockedUntilMs) if (nowMs >= untilMs) this.#blockedUntilMs.delete(nodeId);
    for (const { node_id: nodeId, wake } of this.#parts.sleepers.entries)
      if (wake !== null && nowMs >= wake.until_unix_ms) this.#once(nodeId, () => this.#giveUp(nodeId, nowMs));
  }

  #canHelp(entry: SleepEntry, nowMs: number): boolean {
    const { node_id: nodeId, asleep, failures, wake } = entry;
    const sleep = asleep?.sleep ?? null;
    if (sleep === null || sleep.mac === null || sleep.network === null || sleep.closed_because !== null) return false;
    if (wake !== null) return nowMs < wake.until_unix_ms;
    if (nowMs < (this.#blockedUntilMs.get(nodeId) ?? 0)) return false;
    return mayWake(entry, nowMs, true) && this.#neighbours.of(sleep.network, nodeId, failures, nowMs).length > 0;
  }

  #fleetOf(record: NodeRecord): Fleet {
    let fleet = this.#awake.get(record);
    if (fleet === undefined) this.#awake.set(record, (fleet = asIfAwake(record)));
    return fleet;
  }

  async #order(nodeId: string, { by, jobId }: Asker): Promise<void> {
    const { fleet, policy, sleepers } = this.#parts;
    const entry = sleepers.find(nodeId);
    const sleep = entry?.asleep?.sleep ?? undefined;
    if (entry === undefined || sleep === undefined)
      throw new MeshError("not_found", `no machine ${nodeId} is known to sleep`, { field: "node_id" });
    const { address, mac, network } = sleep;
    if (mac === null || network === null)
      throw new MeshError("conflict", `${nodeId} did not say how it can be woken (Wake-on-LAN is off, or not known)`);
    const id = newId();
    let why = new MeshError("no_node", `no other machine in ${nodeId}'s network ${network} is awake to wake it`);
    for (const neighbour of this.#neighbours
      .of(network, nodeId, entry.failures, fleet.nowMs())
      .slice(0, MAX_NEIGHBOURS)) {
      const nowMs = Math.round(fleet.nowMs());
      const untilMs = nowMs + policy().routing.wake_on_lan.max_wait_s * 1000;
      const claimed = await sleepers.change(nodeId, (now) => {
        if (now.wake?.id !== id && !mayWake(now, nowMs, jobId !== null)) return undefined;
        const wake = { id, asked_by: by, job_id: jobId, neighbour, asked_unix_ms: nowMs, until_unix_ms: untilMs };
        return { ...now, wake };
      });
      // Another router is at it, or it woke up.
      if (claimed === undefined) return;
      try {
        return await this.#ask(neighbour, { wake_id: id, node_id: nodeId, mac, network, address });
      } catch (error) {
        why = MeshError.from(error, "node_lost", `${neighbour} does not answer`);
        this.#parts.log.warn({ err: error, node: nodeId, neighbour }, "a neighbour could not wake a machine");
      }
    }
    await this.#end(nodeId, { outcome: "not_asked", reason: why.message.slice(0, 200) }, (wake) => wake.id === id);
    throw why;
  }

  /** @throws MeshError what the neighbour says, or what the bus does */
  async #ask(neighbour: string, order: MagicOrder): Promise<void> {
    const { bus } = this.#parts;
    const answer = await bus.nc.request(bus.subjects.magic(neighbour), JSON.stringify(order), {
      timeout: ANSWER_LIMIT_MS,
    });
    const { error } = parseOrThrow(MagicReply, answer.json(), "internal");
    if (error !== null) throw MeshError.fromWire(error);
  }

  #onAsleep(record: NodeRecord): void {
    const { node_id: nodeId, sleep } = record;
    if (this.#told.has(nodeId) || sleep === null || sleep.mac === null) return;
    this.#told.add(nodeId);
    const write = () =>
      this.#parts.sleepers.change(nodeId, (entry) =>
        // Another router was first with the same word, or a later one.
        entry.asleep?.boot_id === record.boot_id && entry.asleep.seq >= record.seq
          ? undefined
          : fellAsleep(entry, record, this.#parts.fleet.nowMs()),
      );
    void write().catch((error: unknown) => {
      // With its next word.
      this.#told.delete(nodeId);
      this.#parts.log.warn({ err: error, node: nodeId }, "that a machine sleeps could not be written down");
    });
  }

  #onHeard(record: NodeRecord): void {
    const { node_id: nodeId } = record;
    this.#told.delete(nodeId);
    const entry = this.#parts.sleepers.find(nodeId);
    if (entry === undefined || (entry.asleep === null && entry.wake === null)) return;
    if (entry.wake === null)
      return this.#once(nodeId, async () => {
        await this.#parts.sleepers.change(nodeId, (now) =>
          now.asleep === null || now.wake !== null ? undefined : wokeUp(now, this.#parts.fleet.nowMs()),
        );
      });
    if (isReady(record, entry)) this.#once(nodeId, () => this.#end(nodeId, { outcome: "ready", reason: null }));
  }

  async #giveUp(nodeId: string, nowMs: number): Promise<void> {
    const view = this.#parts.fleet.fleet.view(nodeId);
    const isUp = view !== undefined && !view.gone;
    const ended = { outcome: isUp ? "not_ready" : "not_up", reason: isUp ? view.record.status_reason : null } as const;
    await this.#end(nodeId, ended, (wake) => nowMs >= wake.until_unix_ms);
  }

  /** Ends the wake that is under way, and records it, unless another router has. */
  async #end(
    nodeId: string,
    ended: { outcome: WakeOutcome; reason: string | null },
    which: (wake: NonNullable<SleepEntry["wake"]>) => boolean = () => true,
  ): Promise<void> {
    const { events, fleet, sleepers } = this.#parts;
    const done = await sleepers.change(nodeId, (entry) =>
      entry.wake === null || !which(entry.wake) ? undefined : wakeEnded(entry, entry.wake, ended, fleet.nowMs()),
    );
    const wake = done?.before.wake ?? null;
    const layer = (done?.before.asleep ?? fleet.fleet.view(nodeId)?.record)?.layer;
    if (done === undefined || wake === null || layer === undefined) return;
    const { last, not_before_unix_ms: from } = done.after;
    events.record("node_woken", {
      node_id: nodeId,
      layer,
      asked_by: wake.asked_by,
      job_id: wake.job_id,
      neighbour: wake.neighbour,
      ...ended,
      after_ms: Math.round((last?.after_seconds ?? 0) * 1000),
      not_before: from === null ? null : new Date(from).toISOString(),
    });
  }

  /** One change of a node's entry at a time from here; never throws. */
  #once(nodeId: string, change: () => Promise<void>): void {
    if (this.#changing.has(nodeId)) return;
    this.#changing.add(nodeId);
    void change()
      .catch((error: unknown) => {
        this.#parts.log.warn(
          { err: error, node: nodeId },
          "what became of a machine that slept could not be written down",
        );
      })
      .finally(() => this.#changing.delete(nodeId));
  }
}

interface Found {
  entry: SleepEntry;
  readyMs: number;
  inTime: boolean;
}
