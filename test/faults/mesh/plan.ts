import { LAYERS, type Layer } from "../../../bus-schemas/index.ts";
import type { Chance } from "../world/chance.ts";
import type { NodeSpec } from "./agent.ts";
import type { RuntimeManners } from "./runtime.ts";

/** What the fault injector can do. Each seed allows some of it and not the rest: a fault is found sooner where it is alone. */
export const FAULTS = [
  "router crash",
  "agent crash",
  "caller crash",
  "router stop",
  "agent stop",
  "work thread crash",
  "cut",
  "half-open cut",
  "stall",
  "broker restart",
  "pause",
  "audit gone",
  "audit silent",
  "audit slow",
  "clock step",
  "policy change",
  "forger",
] as const;
export type Fault = (typeof FAULTS)[number];

/** What one seed simulates. */
export interface Plan {
  routers: number;
  agents: NodeSpec[];
  callers: number;
  /** None: a bus of somebody's own, on which the broker's word on lost connections is not heard. */
  keepers: number;
  /** Jobs that callers submit while there are faults. */
  jobs: number;
  /** While jobs come and faults happen, milliseconds. */
  activeMs: number;
  /** Most of the jobs come within a moment. */
  burst: boolean;
  /** Share of jobs by their way and their trouble. */
  byHand: number;
  cancels: number;
  sharedIds: number;
  /** Faults that happen, and how many of them. */
  faults: readonly Fault[];
  faultCount: number;
  latency: { baseMs: [number, number]; spikes: number; spikeMs: number };
  /** Messages of so many milliseconds come in one read; 0 = each by itself. */
  gridMs: number;
  /** Largest difference of a wall clock from the true time, milliseconds. */
  skewMs: number;
  manners: RuntimeManners;
  /** Largest body on this bus, bytes. */
  maxBytes: number;
  /** The queue's `hedge_after_ms`. */
  hedgeAfterMs: number | undefined;
}

/** Draws what a seed simulates (swarm testing: Groce et al. 2012). */
export function planOf(chance: Chance): Plan {
  // Few kinds of faults in most seeds: what one of them does is seen best where the others do not excuse it.
  const share = chance.pick([0, 0.1, 0.1, 0.2, 0.5]);
  const faults = FAULTS.filter(() => chance.yes(share));
  const burst = chance.yes(0.25);
  const some = (probability: number, least: number, most: number) =>
    chance.yes(probability) ? chance.between(least, most) : 0;
  return {
    routers: chance.whole(1, 3),
    agents: agentsOf(chance),
    callers: chance.whole(1, 3),
    keepers: chance.yes(0.7) ? 1 : 0,
    jobs: Math.round(chance.skewed(6, burst ? 80 : 40)),
    activeMs: chance.between(5000, 12_000),
    burst,
    byHand: some(0.6, 0.1, 0.6),
    cancels: some(0.5, 0.1, 0.5),
    sharedIds: some(0.3, 0.05, 0.3),
    faults,
    faultCount: faults.length === 0 ? 0 : Math.round(chance.skewed(1, 12)),
    latency: {
      baseMs: [0.1, chance.yes(0.2) ? 30 : 2],
      spikes: some(0.4, 0.005, 0.1),
      spikeMs: chance.skewed(20, 600),
    },
    gridMs: chance.pick([0, 0, 1, 4]),
    skewMs: chance.pick([0, 0, 20, 300, 5000]),
    manners: {
      fails: some(0.4, 0.02, 0.3),
      hangs: some(0.3, 0.02, 0.3),
      slow: some(0.3, 0.02, 0.3),
      bursts: some(0.5, 0.05, 0.8),
    },
    maxBytes: chance.yes(0.1) ? 24 * 1024 : 1024 * 1024,
    hedgeAfterMs: chance.yes(0.25) ? chance.between(50, 800) : undefined,
  };
}

function agentsOf(chance: Chance): NodeSpec[] {
  const count = chance.whole(2, 6);
  return Array.from({ length: count }, (_, i) => {
    // One at least for every class.
    const layer: Layer = i === 0 ? chance.pick(["L0", "L1"]) : chance.pick(LAYERS);
    const models = i === 0 || chance.yes(0.7) ? ["tiny", "big"] : ["tiny"];
    const slots = chance.pick([1, 1, 2, 4]);
    return { layer, slots, models, costFactor: chance.between(0, 1), continues: chance.yes(0.7) };
  });
}
