import type { DataClass, Layer, StreamFrame } from "../../../bus-schemas/index.ts";
import type { StoredEvent } from "../world/audit-stream.ts";

/** How a caller submits: by MeshClient, or by hand with one core NATS request and no second try. */
export type Way = "client" | "by hand";

/** A job as its caller saw it; all times are virtual milliseconds. */
export interface CallerJob {
  id: string;
  caller: string;
  way: Way;
  /** Unique among all jobs, so that every answer can be told from every other. */
  prompt: string;
  stream: boolean;
  /** The strictest class that it declares anywhere; P0 when it declares none. */
  strictest: DataClass;
  /** Another job was given the same id by someone else. */
  idShared: boolean;
  startedAtMs: number;
  deadlineAtMs: number;
  /** By then its caller must have its end, whatever happens elsewhere. */
  endsByMs: number;
  frames: { atMs: number; frame: StreamFrame }[];
  /** The caller's program got the control back. */
  closedAtMs: number | undefined;
  threw: string | undefined;
  cancelledAtMs: number | undefined;
  /** The caller itself crashed. */
  callerLostAtMs: number | undefined;
  /** Submitted after everything was healed: it must finish. */
  fresh: boolean;
}

/** One run of a job on a runtime, as the runtime saw it. */
export interface Run {
  number: number;
  jobId: string;
  node: string;
  layer: Layer;
  /** Which life of the node. */
  boot: number;
  /** Slots of the runtime. */
  slots: number;
  prompt: string;
  /** The answer of the nodes before, which it goes on with. */
  begun: string;
  startedAtMs: number;
  said: string[];
  /** It said its whole answer. */
  doneAtMs: number | undefined;
  /** It failed, was told to stop, or died with its node. */
  stoppedAtMs: number | undefined;
}

/** A job that reached an agent. */
export interface Arrival {
  atMs: number;
  node: string;
  layer: Layer;
  boot: number;
  subjectClass: DataClass;
  jobId: string;
  decisionId: string;
  attempt: number;
  sealed: boolean;
  /** The event that had to be durable was, at this time. */
  recorded: boolean;
  forged: boolean;
}

/** What an agent said of a job to its router. */
export interface Word {
  atMs: number;
  node: string;
  boot: number;
  type: "accepted" | "refused" | "ended";
  jobId: string;
}

/** Something that the fault injector did to one process, or to all (`*`). */
export interface Disturbance {
  atMs: number;
  untilMs: number;
  kind: "crash" | "stop" | "cut" | "stall" | "pause" | "audit" | "clock" | "policy" | "runtime" | "forger";
  who: string;
}

/** All that a run of the simulation leaves to be judged. */
export interface History {
  jobs: CallerJob[];
  runs: Run[];
  arrivals: Arrival[];
  words: Word[];
  disturbances: Disturbance[];
  audit: StoredEvent[];
  /**
   * Jobs for which somebody waited in vain for the word that they were taken, within their limit: a node or a router that is
   * only slow may run them all the same, beside the one that was asked next.
   */
  unanswered: Set<string>;
  /** Exceptions that nobody handled, and errors that were logged as internal. */
  errors: string[];
  /** Text of a sealed job seen on the bus in clear. */
  leaks: string[];
  /** What was still there when everything should have been over. */
  leftovers: string[];
  healedAtMs: number;
  endedAtMs: number;
}

export function newHistory(audit: StoredEvent[]): History {
  return {
    jobs: [],
    runs: [],
    arrivals: [],
    words: [],
    disturbances: [],
    audit,
    unanswered: new Set(),
    errors: [],
    leaks: [],
    leftovers: [],
    healedAtMs: 0,
    endedAtMs: 0,
  };
}

/** Whether one of these kinds of trouble touched one of these processes within a time. */
export function disturbed(
  history: History,
  fromMs: number,
  toMs: number,
  { kinds, who = () => true }: { kinds: readonly Disturbance["kind"][]; who?: (name: string) => boolean },
): boolean {
  return history.disturbances.some(
    (trouble) =>
      trouble.atMs <= toMs &&
      trouble.untilMs >= fromMs &&
      kinds.includes(trouble.kind) &&
      (trouble.who === "*" || who(trouble.who)),
  );
}
