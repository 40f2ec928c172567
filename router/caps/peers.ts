import type { RouterShares, Verdict } from "../../bus-schemas/index.ts";
import { RunningElsewhere } from "./running-elsewhere.ts";
import { limitOf, shareOf, type Said } from "./shares.ts";

/** Every router announces itself once a second; one that is silent this long is gone for the others, milliseconds. */
export const LEASE_MS = 5000;
/** A router that has not heard its own announcement for this long does not know whether the others still count it, milliseconds. */
export const FENCE_MS = 3000;
/** After this time a router that has just joined has heard all others, milliseconds: once a second, jittered by a tenth. */
export const SETTLE_MS = 1100;
/** A gone router's share is left alone this much longer: if it is back after all, it hears that it is not counted, milliseconds. */
const GRACE_MS = 1000;
/** What waits at another router is believed for so long, milliseconds: it says so every second. */
const WAITING_NEWS_MS = 1500;
/** A job outlives its deadline by less than this (its node ends it, its router forgets it), milliseconds. */
const AFTER_DEADLINE_MS = 10_000;

interface Gone {
  atMs: number;
  unseen: Record<string, number>;
  /** It said itself that it went, and what it left: a job that a node accepts after that is one of those. */
  said: boolean;
}

interface Heard {
  said: Said & Pick<RouterShares, "waiting">;
  atMs: number;
  /** Jobs that it says it has out and that we heard no node accept: older than we are, or on their way. */
  unseen: Record<string, number>;
}

/**
 * The routers that share the queues' caps, as one of them sees them (ADR 0018). It neither sends nor receives: what is heard
 * is handed in, with the time on its own monotonic clock, so that tests can lose, delay and reorder it.
 */
export class Peers {
  readonly me: string;
  readonly running = new RunningElsewhere();
  readonly #joinedMs: number;
  readonly #heard = new Map<string, Heard>();
  readonly #gone = new Map<string, Gone>();
  #view: readonly string[];
  /** The list before a router fell silent, until when it still binds us. */
  #before: { view: readonly string[]; untilMs: number } | undefined;
  /** When the newest of our own announcements that came back to us was sent. */
  #ownSentMs = -Infinity;
  #leaving = false;

  constructor(me: string, nowMs: number) {
    this.me = me;
    this.#joinedMs = nowMs;
    this.#view = [me];
  }

  /** The routers that this one goes by, itself among them; sorted. */
  get view(): readonly string[] {
    return this.#view;
  }

  /** @returns whether the list of routers changed: the others should hear of it at once. */
  hear(router: string, said: RouterShares, nowMs: number): boolean {
    if (router === this.me) {
      this.#ownSentMs = Math.max(this.#ownSentMs, said.sent_ms);
      return false;
    }
    const running = this.running.countsOf(router);
    const unseen: Record<string, number> = {};
    for (const [queue, used] of Object.entries(said.used)) unseen[queue] = Math.max(0, used - (running[queue] ?? 0));
    if (said.leaving) {
      this.#heard.delete(router);
      this.#gone.set(router, { atMs: nowMs, unseen, said: true });
      return this.#look();
    }
    this.#gone.delete(router);
    this.#heard.set(router, { said, atMs: nowMs, unseen });
    return this.#look();
  }

  /** A node's word to another router. @param router its name as announced */
  onVerdict(verdict: Verdict, router: string, dispatch: string, nowMs: number): void {
    const { known } = this.running.onVerdict(verdict, router, dispatch, nowMs);
    if (known || verdict.type === "refused" || verdict.queue === null) return;
    const gone = this.#gone.get(router);
    if (verdict.type === "accepted" && gone?.said !== true) return;
    const unseen = (this.#heard.get(router) ?? gone)?.unseen;
    const count = unseen?.[verdict.queue] ?? 0;
    if (unseen !== undefined && count > 0) unseen[verdict.queue] = count - 1;
  }

  /**
   * Drops routers that fell silent, and orphans whose time is over.
   * @param timeouts of each queue's jobs, milliseconds
   * @returns whether the list of routers changed
   */
  sweep(nowMs: number, timeouts: ReadonlyMap<string, number>): boolean {
    const overMs = (queue: string | null) => (timeouts.get(queue ?? "") ?? 0) + AFTER_DEADLINE_MS;
    this.running.forget(({ queue, acceptedMs }) => nowMs - acceptedMs > overMs(queue));
    for (const [router, gone] of this.#gone) {
      for (const queue of Object.keys(gone.unseen)) if (nowMs - gone.atMs > overMs(queue)) delete gone.unseen[queue];
      const left = [...Object.values(this.running.countsOf(router)), ...Object.values(gone.unseen)];
      if (left.every((count) => count === 0)) this.#gone.delete(router);
    }
    let changed = false;
    for (const [router, { atMs, unseen }] of this.#heard) {
      if (nowMs - atMs <= LEASE_MS) continue;
      this.#before = { view: this.#view, untilMs: nowMs + GRACE_MS };
      this.#heard.delete(router);
      this.#gone.set(router, { atMs: nowMs, unseen, said: false });
      changed = this.#look() || changed;
    }
    return changed;
  }

  /** What this router says of itself from now on. @param used its own jobs that are out, by queue */
  announcement(
    used: Record<string, number>,
    queues: Iterable<string>,
    nowMs: number,
    waiting: number | null = null,
  ): RouterShares {
    const orphans: Record<string, number> = {};
    for (const queue of queues) {
      const count = this.#orphans(queue);
      if (count > 0) orphans[queue] = count;
    }
    return { sent_ms: nowMs, view: [...this.#view], used, orphans, waiting, leaving: this.#leaving };
  }

  /** Highest priority of what waits at another router, as far as that is news; null = nothing does. */
  waitingElsewhere(nowMs: number): number | null {
    let highest: number | null = null;
    for (const { said, atMs } of this.#heard.values())
      if (said.waiting !== null && nowMs - atMs < WAITING_NEWS_MS)
        highest = Math.max(highest ?? -Infinity, said.waiting);
    return highest;
  }

  /** From now on this router takes nothing more, and says so. */
  leave(): void {
    this.#leaving = true;
  }

  /** Jobs of a queue that this router may have out at most now. */
  limit(queue: string, cap: number, nowMs: number): number {
    if (this.#leaving || nowMs - this.#joinedMs < SETTLE_MS || nowMs - this.#ownSentMs > FENCE_MS) return 0;
    if (!this.complete) return 0;
    const others = new Map([...this.#heard].map(([router, { said }]) => [router, said]));
    const limit = limitOf(queue, cap, this.me, this.#view, others, this.#orphans(queue));
    if (this.#before === undefined || nowMs > this.#before.untilMs) return limit;
    return Math.min(limit, shareOf(cap, this.#before.view, this.me));
  }

  /**
   * Whether every router that another one goes by has been heard here: what a router has that only others heard cannot be
   * counted, until it speaks, or is gone for them too.
   */
  get complete(): boolean {
    for (const { said } of this.#heard.values()) if (!said.view.every((router) => this.#knows(router))) return false;
    return true;
  }

  #knows(router: string): boolean {
    return router === this.me || this.#heard.has(router) || this.#gone.has(router);
  }

  #orphans(queue: string): number {
    let count = 0;
    for (const [router, { unseen }] of this.#gone)
      count += (this.running.countsOf(router)[queue] ?? 0) + (unseen[queue] ?? 0);
    return count;
  }

  #look(): boolean {
    const view = [this.me, ...this.#heard.keys()].toSorted();
    if (view.join() === this.#view.join()) return false;
    this.#view = view;
    return true;
  }
}
