import { Chance } from "./chance.ts";
import { EventHeap, type WorldEvent } from "./event-heap.ts";
import { Trace } from "./trace.ts";

/** The real one: between two steps it lets every promise that a step has settled run its course. */
const realSetImmediate = globalThis.setImmediate;

/** Wall clock at the start of every simulation, epoch milliseconds. */
export const EPOCH_MS = 1_700_000_000_000;

/** One life of a simulated process, from its start to its crash or stop. */
export class Proc {
  readonly name: string;
  /** Virtual time of its start, milliseconds; its monotonic clock begins there. */
  readonly bornAtMs: number;
  readonly chance: Chance;
  /** What its wall clock shows beyond the true time, milliseconds. The monotonic clock never differs. */
  skewMs: number;
  alive = true;
  /** It runs nothing before this time, milliseconds. */
  pausedUntilMs = 0;
  /** What came due while it was paused. */
  readonly held: WorldEvent[] = [];

  constructor(name: string, bornAtMs: number, chance: Chance, skewMs: number) {
    this.name = name;
    this.bornAtMs = bornAtMs;
    this.chance = chance;
    this.skewMs = skewMs;
  }
}

/**
 * Virtual time for many processes in one. One event runs at a time, in the order of its time; before the next one runs, every
 * promise that it settled has run its course, so all of that belongs to the same process. Time stands still meanwhile.
 */
export class World {
  readonly chance: Chance;
  readonly trace: Trace;
  nowMs = 0;
  /** Whose code runs now; undefined = the world's own. */
  current: Proc | undefined;
  /** Steps of processes so far. */
  steps = 0;
  /** What nobody caught in a timer of a process. */
  readonly thrown: unknown[] = [];
  readonly #heap = new EventHeap();

  constructor(seed: string, traced: boolean) {
    this.chance = new Chance(seed);
    this.trace = new Trace(traced);
  }

  get wallMs(): number {
    return EPOCH_MS + this.nowMs + (this.current?.skewMs ?? 0);
  }

  get monotonicMs(): number {
    return this.nowMs - (this.current?.bornAtMs ?? 0);
  }

  /** @param proc whose code it is; without one it is the world's, and settles no promises */
  at(atMs: number, run: () => void, proc?: Proc, kind: WorldEvent["kind"] = "io"): WorldEvent {
    return this.#heap.add(Math.max(atMs, this.nowMs), run, proc, kind);
  }

  /** Runs `body` as code of `proc`, in a step of its own, now. */
  start(proc: Proc, body: () => void): void {
    this.at(this.nowMs, body, proc);
  }

  /** Timers and messages of `proc` that are still to come. */
  waiting(proc: Proc): number {
    return this.#heap.count(proc);
  }

  note(what: string): void {
    this.trace.add(this.nowMs, this.current?.name ?? "world", what);
  }

  kill(proc: Proc): void {
    proc.alive = false;
    proc.held.length = 0;
  }

  /** Nothing of `proc` runs for a while; then everything that came due meanwhile runs at once. */
  pause(proc: Proc, forMs: number): void {
    if (!proc.alive) return;
    const before = proc.pausedUntilMs;
    proc.pausedUntilMs = Math.max(before, this.nowMs + forMs);
    if (before <= this.nowMs) this.at(proc.pausedUntilMs, () => this.#resume(proc));
  }

  #resume(proc: Proc): void {
    if (!proc.alive) return;
    if (proc.pausedUntilMs > this.nowMs) return void this.at(proc.pausedUntilMs, () => this.#resume(proc));
    const held = proc.held.splice(0);
    // A process that slept in its poll reads its sockets first; one that slept elsewhere runs its timers first.
    const first: WorldEvent["kind"] = this.chance.yes(0.5) ? "timer" : "io";
    const ordered = [...held.filter(({ kind }) => kind === first), ...held.filter(({ kind }) => kind !== first)];
    for (const event of ordered) this.#heap.again(event, this.nowMs);
  }

  /** Lets time pass until `untilMs`, or until `enough` says so after a step. */
  async run(untilMs: number, enough: () => boolean = () => false): Promise<void> {
    for (;;) {
      const event = this.#heap.next(untilMs);
      if (event === undefined) break;
      this.nowMs = Math.max(this.nowMs, event.atMs);
      const { proc } = event;
      if (proc === undefined) event.run();
      else if (!proc.alive) continue;
      else if (proc.pausedUntilMs > this.nowMs) proc.held.push(event);
      else await this.#step(proc, event.run);
      if (enough()) return;
    }
    this.nowMs = Math.max(this.nowMs, untilMs);
  }

  async #step(proc: Proc, run: () => void): Promise<void> {
    this.current = proc;
    this.steps++;
    try {
      run();
    } catch (error) {
      // A real process would end by it; here the checker says so.
      this.thrown.push(error);
    }
    await new Promise<void>((resolve) => realSetImmediate(resolve));
    this.current = undefined;
  }
}
