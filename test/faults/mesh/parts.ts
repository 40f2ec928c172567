import type { Policy } from "../../../router/policy/types.ts";
import type { RouterMetrics } from "../../../router/metrics.ts";
import type { Log } from "../../../service/log.ts";
import type { Metrics } from "../../../service/metrics.ts";
import type { Broker } from "../world/broker.ts";
import { CLOSED, Connection, type ConnectionEvents, type Wire } from "../world/connection.ts";
import type { Proc, World } from "../world/world.ts";
import type { History } from "./history.ts";
import type { RuntimeManners } from "./runtime.ts";
import type { Sabotage } from "./sabotage.ts";
import type { Disk } from "./spool.ts";

/** What every simulated process is made of. */
export interface Surroundings {
  world: World;
  broker: Broker;
  history: History;
  disk: Disk;
  wire: (name: string) => Wire;
  events: ConnectionEvents;
  /** The policy that a router of this name decides by now. */
  policyOf: (router: string) => Policy;
  manners: RuntimeManners;
  sabotage: Sabotage;
}

/** A process that crashes, stops and starts again under one name. */
export abstract class Member {
  readonly name: string;
  protected readonly around: Surroundings;
  proc: Proc | undefined;
  connection: Connection | undefined;
  /** Lives so far. */
  boot = 0;
  skewMs = 0;

  constructor(name: string, around: Surroundings) {
    this.name = name;
    this.around = around;
  }

  get alive(): boolean {
    return this.proc?.alive === true;
  }

  /** A new life: nothing of a former one is left but the disk. */
  start(proc: Proc): void {
    this.boot++;
    this.proc = proc;
    const { world, broker, wire, events } = this.around;
    world.start(proc, () => {
      const connection = new Connection(world, broker, proc, wire(this.name), events);
      this.connection = connection;
      this.live(proc, connection);
    });
  }

  /** All of its state is gone, its timers never fire. */
  crash(): void {
    if (this.proc === undefined || this.connection === undefined) return;
    this.around.world.kill(this.proc);
    this.died();
  }

  /** Wires its parts as its main.ts does. */
  protected abstract live(proc: Proc, connection: Connection): void;
  /** After a crash. */
  protected died(): void {}
  /** An orderly stop; resolves when the process would exit. */
  abstract stop(): Promise<void>;
  /** What it still holds of jobs that are over, in words. */
  abstract leftovers(): string[];
}

/** A log that only remembers what must never be logged: an error nobody expected. */
export function quietLog(proc: Proc, history: History): Log {
  const nothing = () => undefined;
  const error = (what: unknown, text?: string) => {
    const { err } = (typeof what === "object" && what !== null ? what : {}) as { err?: unknown };
    // A process that stops has closed its connection; what comes then is nobody's.
    if (err !== undefined && (err as Error).message !== CLOSED)
      history.errors.push(`${proc.name} logs: ${text}: ${describe(err)}`);
  };
  return { debug: nothing, info: nothing, warn: nothing, error } as unknown as Log;
}

export function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : JSON.stringify(error);
}

/** Numbers nobody reads. */
const unread = { inc: () => undefined, dec: () => undefined, observe: () => undefined };

export const unreadMetrics = { counter: () => unread } as unknown as Metrics;

export const unreadRouterMetrics = {
  decisions: unread,
  dispatches: unread,
  redispatches: unread,
  hedges: unread,
  endings: unread,
  waiting: unread,
  waited: unread,
  shed: unread,
  overBudget: unread,
  accept: unread,
} as unknown as RouterMetrics;
