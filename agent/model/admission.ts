import { MeshError, stricter, type DataClass, type Layer, type Load } from "../../bus-schemas/index.ts";

/** Jobs that may wait on a node for each slot; more are refused so that another node can take them. */
export const QUEUE_PER_SLOT = 4;

/** The bus's bound on a number of tokens (bus-schemas/units.ts): a record beyond it would be refused as a lie. */
const MAX_TOKENS = 100_000_000;

export interface Seats {
  slots: number;
  running: number;
  queued: number;
}

export interface Ask {
  /** Class of the subject the job came on, which the broker's permissions guard. */
  subjectClass: DataClass;
  /** Class that the router put in the header. */
  headerClass: DataClass | undefined;
  /** Class in the caller's own body; on L2 one that cannot be read counts as P0. */
  bodyClass: DataClass | undefined;
  deadlineMs: number;
}

export interface NodeStance {
  layer: Layer;
  /** Why the node takes no jobs now, or undefined. */
  closedBecause: string | undefined;
  /** Why the model cannot be loaded now, or undefined. */
  noRoom?: string | undefined;
}

/**
 * The node's own word on a job (DESIGN promise 6), independent of what the router thought: undefined = taken.
 * The class is checked here again (wall three of promise 1): the strictest of subject, header and body counts, a job
 * whose parts disagree in the wider direction is refused, and L2 never takes P0 or P1.
 */
export function refuse(
  ask: Ask,
  stance: NodeStance,
  seats: Seats | undefined,
  model: string,
  nowMs: number,
): MeshError | undefined {
  const strictest = [ask.headerClass, ask.bodyClass].reduce<DataClass>(
    (a, b) => (b === undefined ? a : stricter(a, b)),
    ask.subjectClass,
  );
  // Before anything else, so that what is told is what the caller can do about it.
  if (stance.layer === "L2" && strictest === "P1")
    return new MeshError("anonymiser_required", "P1 reaches the cloud only anonymised, and nothing does that yet", {
      field: "security_level",
    });
  if (strictest !== ask.subjectClass)
    return new MeshError("forbidden", `the job is ${strictest} but came as ${ask.subjectClass}`, {
      field: "security_level",
    });
  if (stance.layer === "L2" && strictest === "P0")
    return new MeshError("forbidden", "P0 does not run on L2", { field: "security_level" });
  if (stance.closedBecause !== undefined) return new MeshError("draining", stance.closedBecause);
  if (ask.deadlineMs <= nowMs) return new MeshError("deadline_exceeded", "the deadline has passed");
  if (seats === undefined)
    // For a moment, as after a restart; that no node serves it at all is the router's to say (`model_not_found`, final).
    return new MeshError("no_node", `this node does not serve ${model} now`, { field: "model" });
  if (seats.running + seats.queued >= seats.slots * (1 + QUEUE_PER_SLOT))
    return new MeshError("all_busy", "every slot and queue place is taken");
  if (stance.noRoom !== undefined) return new MeshError("all_busy", `${model} is not loaded, and ${stance.noRoom}`);
  return undefined;
}

/** The node's load as the sum over its runtimes. */
export function totalLoad(seats: Iterable<Seats>, pendingPrefillTokens: number): Load {
  let [slots, running, queued] = [0, 0, 0];
  for (const seat of seats) {
    slots += seat.slots;
    running += seat.running;
    queued += seat.queued;
  }
  return {
    slots,
    running,
    queued,
    queue_limit: slots * QUEUE_PER_SLOT,
    pending_prefill_tokens: Math.min(pendingPrefillTokens, MAX_TOKENS),
  };
}
