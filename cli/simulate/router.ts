import type { Load, NodeRecord, Timing } from "../../bus-schemas/index.ts";
import { FleetView } from "../../router/fleet-view.ts";
import type { RouteRequest } from "../../router/policy/types.ts";

/** The audit stream, which a simulated router has none of. */
const NO_EVENTS = { record: () => ({ id: "none", durable: Promise.resolve() }) };

/** A dispatch that a router knows of. */
export interface SimDispatch {
  nodeId: string;
  request: RouteRequest;
  predictedMs: number | undefined;
}

/** One router: the production view of the fleet, fed with what would reach it over the bus. */
export class SimRouter {
  readonly #view: FleetView;
  /** Whether it takes in anything but heartbeats. */
  readonly #learns: boolean;

  constructor(clock: () => number, liveRouters: number, learns: boolean) {
    this.#view = new FleetView(NO_EVENTS, { wallMs: clock, steadyMs: clock });
    this.#view.fleet.liveRouters = liveRouters;
    this.#learns = learns;
  }

  get fleet() {
    return this.#view.fleet;
  }

  onHeartbeat(record: NodeRecord, nowMs: number): void {
    this.#view.onHeartbeat(record, nowMs);
  }

  onDispatch({ nodeId }: SimDispatch): void {
    this.#view.onDispatch(nodeId);
  }

  /** The load in a verdict, its own or one to another router. */
  onLoad(nodeId: string, load: Load): void {
    if (this.#learns) this.#view.onLoad(nodeId, load);
  }

  onRefused({ nodeId }: SimDispatch): void {
    this.#view.onDone(nodeId);
    if (this.#learns) this.#view.onRefused(nodeId);
  }

  onEnded({ nodeId, request, predictedMs }: SimDispatch, timing: Timing, finished: boolean): void {
    this.#view.onDone(nodeId);
    if (!this.#learns) return;
    const score = predictedMs === undefined ? null : { predicted_ms: predictedMs };
    this.#view.observe({ nodeId, request, decision: { score } }, timing, finished ? "finished" : "expired");
  }
}
