import type { Load, MeshError, NodeRecord, Outcome, Timing } from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import type { EventPublisher } from "../service/events.ts";
import { subscribeHeartbeats } from "../service/heartbeats.ts";
import { KEEP_ASLEEP_MS } from "../service/sleep-bucket.ts";
import { subscribeNodesGone } from "../service/nodes-gone.ts";
import type { Rejections } from "../service/rejections.ts";
import { correctByFailure, correctByTiming, type Predicted } from "./correction.ts";
import { FleetClock, type Clocks } from "./fleet-clock.ts";
import { Outliers } from "./outliers.ts";
import { Fleet } from "./policy/fleet.ts";
import type { NodeView } from "./policy/types.ts";
import { SealKeyOwners } from "./seal-key-owners.ts";
import { Silence } from "./silence.ts";

/** A node that is gone is forgotten after this time, milliseconds. */
const FORGET_AFTER_MS = 10 * 60_000;
/** A node that said its last word ends its jobs within this time, or has lost them (an agent drains for 7 s), milliseconds. */
const LEAVE_LIMIT_MS = 10_000;
/** Sweeps further apart than this mean that this process slept or was busy: the heartbeats wait unread, milliseconds. */
const LAG_LIMIT_MS = 1500;
const MACHINE_CLOCKS: Clocks = { wallMs: () => Date.now(), steadyMs: () => performance.now() };

/**
 * The fleet as this router knows it: heartbeats, and what its own jobs taught it since. Rebuilt from the bus within one
 * heartbeat (DESIGN promise 5). Ages are by our own clock from reception; a sender's clock is never trusted.
 */
export class FleetView {
  readonly fleet = new Fleet();
  /** Jobs of ours that a node has said nothing of yet: no load that it tells can have them in it. */
  onTheWay: (nodeId: string) => number = () => 0;
  readonly #events: Pick<EventPublisher, "record">;
  readonly #clock: FleetClock;
  readonly #outliers = new Outliers(this.fleet);
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
  readonly #onHeard: ((record: NodeRecord) => void)[] = [];
  readonly #onAsleep: ((record: NodeRecord) => void)[] = [];
  readonly #onBack: ((nodeId: string) => void)[] = [];
  readonly #silence = new Silence();

  /** @param clocks what reception is measured on; a simulator brings its own. */
  constructor(events: Pick<EventPublisher, "record">, clocks: Clocks = MACHINE_CLOCKS) {
    this.#events = events;
    this.#clock = new FleetClock(clocks, (ms) => this.#shift(ms));
  }

  start(bus: Bus, rejections: Rejections): void {
    this.#onRejected = (error) => rejections.add("heartbeat", error);
    subscribeHeartbeats(bus, (record) => this.onHeartbeat(record, this.nowMs()), this.#onRejected);
    subscribeNodesGone(
      bus,
      (nodeId) => this.onDisconnected(nodeId, this.nowMs()),
      (error) => rejections.add("node_gone", error),
    );
  }

  /**
   * The time of decisions and of all moments kept here. Whoever decides asks here: it is where a router that was itself
   * late notices, before it takes nodes for silent whose heartbeats it has not read.
   */
  nowMs(): number {
    const nowMs = this.#clock.nowMs();
    this.#blameSelf(nowMs);
    return nowMs;
  }

  /** Nodes that can be chosen now, before any job's needs. */
  get readyCount(): number {
    return [...this.#views()].filter(({ record }) => record.status === "healthy").length;
  }

  onLost(listener: (nodeId: string) => void): void {
    this.#onLost.push(listener);
  }

  /** Calls back after each heartbeat that was taken in. */
  onHeard(listener: (record: NodeRecord) => void): void {
    this.#onHeard.push(listener);
  }

  /** Calls back at each word of a machine that it is about to sleep. */
  onAsleep(listener: (record: NodeRecord) => void): void {
    this.#onAsleep.push(listener);
  }

  /** A machine that sleeps since before this router started, by what others wrote down; not heard of since, it is asleep. */
  recall(record: NodeRecord, sinceMs: number): void {
    const { node_id: nodeId } = record;
    if (this.fleet.view(nodeId) === undefined && this.nowMs() - sinceMs < KEEP_ASLEEP_MS)
      this.fleet.upsert(record, sinceMs).gone = true;
  }

  /** A node that was lost is heard again, the same start of it: what it was given is still there, unless it heard otherwise. */
  onBack(listener: (nodeId: string) => void): void {
    this.#onBack.push(listener);
  }

  onHeartbeat(record: NodeRecord, nowMs: number): void {
    const { node_id: nodeId, layer, boot_id: bootId, seq, status } = record;
    const known = this.#present.get(nodeId);
    const before = this.fleet.view(nodeId)?.record.boot_id;
    // An older message of the same boot, delivered late or sent again, says nothing new.
    if (known !== undefined && known.bootId === bootId && bootId !== null && seq <= known.seq) return;
    const stolen = this.#sealKeys.claim(record);
    if (stolen !== undefined) return this.#onRejected(stolen);
    // About to sleep is a clean leave too: it is not silent then, and its jobs go on elsewhere.
    if (status === "leaving" || record.sleep !== null) {
      this.#sealKeys.release(nodeId);
      this.fleet.upsert(record, nowMs).gone = true;
      if (record.sleep !== null) for (const listener of this.#onAsleep) listener(record);
      if (known === undefined) return;
      this.#present.delete(nodeId);
      this.#left.set(nodeId, nowMs);
      this.#outliers.forget(nodeId);
      this.#events.record("node_left", { node_id: nodeId, layer, reason: record.status_reason });
      return;
    }
    this.fleet.upsert(record, nowMs).dispatchedSinceHeartbeat = this.onTheWay(nodeId);
    for (const listener of this.#onHeard) listener(record);
    this.#present.set(nodeId, { bootId, seq });
    if (known !== undefined && known.bootId === bootId) return;
    if (before !== bootId) this.#outliers.forget(nodeId);
    // A new boot: whatever the old one ran is lost, if it has not ended it before its last word.
    if (this.#left.delete(nodeId) || known !== undefined) this.#announceLost(nodeId);
    else if (before === bootId) for (const listener of this.#onBack) listener(nodeId);
    this.#events.record("node_joined", {
      node_id: nodeId,
      layer,
      boot_id: bootId,
      hostname: record.hostname,
      models: record.models,
    });
  }

  /**
   * The broker has lost its connection: at once, and whatever else is lost with it, for that is a fact and no guess. After a
   * last word it means that nothing more comes of what the node still ran.
   */
  onDisconnected(nodeId: string, nowMs: number): void {
    if (this.#left.delete(nodeId)) return this.#announceLost(nodeId);
    const view = this.fleet.view(nodeId);
    if (view === undefined || !this.#present.has(nodeId)) return;
    this.#lose(view, nowMs, "disconnect");
  }

  /** Notices nodes that fell silent; call it about ten times a second: so much later than they are, they are found lost. */
  sweep(nowMs: number): void {
    this.#blameSelf(nowMs);
    this.#sweptAtMs = nowMs;
    this.#outliers.sweep(nowMs);
    for (const view of this.fleet.views) {
      const keepMs = (view.record.sleep?.mac ?? null) === null ? FORGET_AFTER_MS : KEEP_ASLEEP_MS;
      if (nowMs - view.receivedAtMs > keepMs) this.#forget(view.record.node_id);
    }
    if (nowMs < this.#judgeFromMs) return;
    for (const view of this.#silence.look(this.#views(), nowMs)) {
      // Together they are not to blame; each is judged again when the others are back.
      view.excused = this.#silence.mass;
      if (this.#silence.mass) continue;
      this.#silence.lost(nowMs);
      this.#lose(view, nowMs, "silence");
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
    this.#outliers.dispatched(view, this.nowMs());
  }

  /** A job of ours is no longer there. */
  onDone(nodeId: string): void {
    const view = this.fleet.view(nodeId);
    if (view !== undefined) view.ownInFlight = Math.max(0, view.ownInFlight - 1);
  }

  /** Fresh load from a verdict. */
  onLoad(nodeId: string, load: Load): void {
    this.fleet.updateLoad(nodeId, load, this.onTheWay(nodeId));
  }

  onRefused(nodeId: string): void {
    this.#correct(nodeId);
  }

  /** No word within the accept limit: a hiccup until a heartbeat is missed, so it is only scored down. */
  onSilent(nodeId: string): void {
    this.onDone(nodeId);
    this.onMute(nodeId);
  }

  /** It took a job, and nobody heard of that job again. */
  onMute(nodeId: string): void {
    this.#correct(nodeId);
    this.onFailed(nodeId);
  }

  /** A job failed there for a reason that another node may not have. */
  onFailed(nodeId: string): void {
    const nowMs = this.nowMs();
    const mayEject = !this.#silence.mass && nowMs >= this.#judgeFromMs;
    const ejection = this.#outliers.failed(nodeId, nowMs, mayEject, this.#present.size);
    const layer = this.fleet.view(nodeId)?.record.layer;
    if (ejection === undefined || layer === undefined) return;
    const { failures, forMs } = ejection;
    this.#events.record("node_ejected", { node_id: nodeId, layer, failures, for_ms: forMs });
  }

  /** The broker says that nobody listens there: not chosen until its next heartbeat. */
  onGone(nodeId: string): void {
    this.onDone(nodeId);
    const view = this.fleet.view(nodeId);
    if (view !== undefined) view.gone = true;
  }

  /** Learns how far the prediction was off. */
  observe(dispatch: Predicted, timing: Timing, status: Outcome): void {
    if (status === "cancelled") return;
    const view = this.fleet.view(dispatch.nodeId);
    if (status === "finished") this.#outliers.succeeded(dispatch.nodeId);
    if (view !== undefined) correctByTiming(view, dispatch, timing, status, this.nowMs());
  }

  #correct(nodeId: string): void {
    const view = this.fleet.view(nodeId);
    if (view !== undefined) correctByFailure(view, this.nowMs());
  }

  *#views(): Iterable<NodeView> {
    for (const nodeId of this.#present.keys()) {
      const view = this.fleet.view(nodeId);
      if (view !== undefined) yield view;
    }
  }

  #lose(view: NodeView, nowMs: number, by: "silence" | "disconnect"): void {
    const { node_id: nodeId, layer } = view.record;
    this.#present.delete(nodeId);
    this.#sealKeys.release(nodeId);
    view.gone = true;
    this.#announceLost(nodeId);
    const silentMs = Math.round(Math.max(0, nowMs - view.receivedAtMs));
    this.#events.record("node_lost", { node_id: nodeId, layer, silent_ms: silentMs, by });
  }

  #forget(nodeId: string): void {
    this.fleet.remove(nodeId);
    this.#sealKeys.release(nodeId);
    if (this.#present.delete(nodeId)) this.#announceLost(nodeId);
  }

  /** Blames itself first (DESIGN §3): after a pause of its own, every node gets the time to be heard again. */
  #blameSelf(nowMs: number): void {
    if (this.#sweptAtMs === undefined || nowMs - this.#sweptAtMs <= LAG_LIMIT_MS) return;
    this.#sweptAtMs = nowMs;
    this.#judgeFromMs = nowMs + LAG_LIMIT_MS;
    for (const view of this.#views()) view.excused = true;
  }

  /** The wall clock was set. */
  #shift(ms: number): void {
    for (const view of this.fleet.views) {
      view.receivedAtMs += ms;
      view.correctedAtMs += ms;
    }
    for (const [nodeId, atMs] of this.#left) this.#left.set(nodeId, atMs + ms);
    this.#silence.shift(ms);
    this.#judgeFromMs += ms;
    if (this.#sweptAtMs !== undefined) this.#sweptAtMs += ms;
    this.#outliers.shift(ms);
  }

  #announceLost(nodeId: string): void {
    for (const listener of this.#onLost) listener(nodeId);
  }
}
