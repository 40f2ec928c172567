import { MeshError, RouterKey, lastToken, type RouterShares, type Verdict } from "../../bus-schemas/index.ts";
import { readBody } from "../../service/messages.ts";
import type { RouterParts } from "../parts.ts";
import { Peers } from "./peers.ts";

/** What a router's name for tickets ends with; its verdicts are spoken to both names. */
export const TICKETS_SUFFIX = "-t";

/** The others hear this much later that what waits here has changed, milliseconds: bursts of changes are one word. */
const SAY_WAITING_MS = 20;

type Parts = Pick<RouterParts, "bus" | "fleet" | "policy" | "rejections">;

/**
 * The queues' `max_concurrency` over all routers (ADR 0018): what this router has out, and how much it may. A router that
 * has not joined the others has the caps to itself.
 */
export class Caps {
  readonly #parts: Parts;
  readonly #counters: ((queue: string) => number)[] = [];
  /** Jobs that were decided and are not out yet. */
  readonly #held = new Map<string, number>();
  #peers: Peers | undefined;
  #onNews: () => void = () => undefined;
  #waiting: () => number | null = () => null;
  #saidWaiting: number | null = null;
  #sayTimer: NodeJS.Timeout | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    parts.fleet.onLost((lost) => this.#peers?.running.forget(({ nodeId }) => nodeId === lost));
  }

  /** @param highest priority of what waits here */
  waitsHere(highest: () => number | null): void {
    this.#waiting = highest;
  }

  /** What waits here has changed: others with less urgent jobs should let it go first, or need not any more. */
  waitingChanged(): void {
    if (this.#peers === undefined || this.#sayTimer !== undefined || this.#waiting() === this.#saidWaiting) return;
    this.#sayTimer = setTimeout(() => {
      this.#sayTimer = undefined;
      if (this.#waiting() !== this.#saidWaiting) this.#onNews();
    }, SAY_WAITING_MS);
  }

  /** Highest priority of what waits at other routers; null = nothing does. */
  get waitingElsewhere(): number | null {
    return this.#peers?.waitingElsewhere(performance.now()) ?? null;
  }

  /** Adds a place where jobs of a queue that are out are counted. */
  count(counter: (queue: string) => number): void {
    this.#counters.push(counter);
  }

  /**
   * Shares the caps with the other routers from now on.
   * @param name of this router in its announcements
   * @param onNews the others should hear at once what there is to say
   */
  join(name: string, onNews: () => void): void {
    const { bus } = this.#parts;
    this.#onNews = onNews;
    this.#peers = new Peers(name, performance.now());
    bus.listen(bus.subjects.routerKeys, (msg) => {
      try {
        const said = readBody(msg, RouterKey);
        // The broker's permissions guard the subject, not the body.
        if (said.router !== lastToken(msg.subject))
          throw new MeshError("forbidden", "router: not the router of the subject", { field: "router" });
        if (said.shares !== undefined && this.#peers?.hear(said.router, said.shares, performance.now()))
          this.#changed();
      } catch (error) {
        this.#parts.rejections.add("router_key", MeshError.from(error));
      }
    });
  }

  /** A router that stops takes no more jobs; its last word frees its share. */
  leave(): void {
    this.#peers?.leave();
    this.#onNews();
  }

  /** Notices routers that fell silent; call it about twice a second. */
  sweep(): void {
    if (this.#peers === undefined) return;
    const queues = Object.entries(this.#parts.policy().routing.task_queues);
    const timeouts = new Map(queues.map(([queue, { timeout_ms: timeoutMs }]) => [queue, timeoutMs]));
    if (this.#peers.sweep(performance.now(), timeouts)) this.#changed();
  }

  /** A node's word to another router. */
  onOther(verdict: Verdict, router: string, dispatch: string): void {
    const name = router.endsWith(TICKETS_SUFFIX) ? router : router + TICKETS_SUFFIX;
    this.#peers?.onVerdict(verdict, name, `${router === name ? "t" : "p"}${dispatch}`, performance.now());
  }

  /** Whether the job runs for another router, as far as the nodes' words tell. */
  runsElsewhere(jobId: string): boolean {
    return this.#peers?.running.has(jobId) === true;
  }

  /** What to announce of the caps; undefined when this router has not joined. */
  announcement(): RouterShares | undefined {
    const queues = Object.keys(this.#parts.policy().routing.task_queues);
    const used = queues.map((queue) => [queue, this.used(queue)] as const).filter(([, count]) => count > 0);
    this.#saidWaiting = this.#waiting();
    return this.#peers?.announcement(Object.fromEntries(used), queues, performance.now(), this.#saidWaiting);
  }

  /** False while others still go by a router that this one has not heard: until then it may take nothing. */
  get complete(): boolean {
    return this.#peers?.complete ?? true;
  }

  /** Jobs of a queue that this router has out: decided, on their way, or running. */
  used(queue: string): number {
    return this.#counters.reduce((sum, counter) => sum + counter(queue), this.#held.get(queue) ?? 0);
  }

  /** Jobs of a queue that this router may have out; what the policy no longer names has no cap. */
  limit(queue: string): number {
    const cap = this.#parts.policy().routing.task_queues[queue]?.max_concurrency ?? Infinity;
    return this.#peers === undefined ? cap : this.#peers.limit(queue, cap, performance.now());
  }

  mayTake(queue: string): boolean {
    return this.used(queue) < this.limit(queue);
  }

  /** Counts a job that is decided, until it is on its way and counted there. @returns ends that; once. */
  hold(queue: string): () => void {
    this.#held.set(queue, (this.#held.get(queue) ?? 0) + 1);
    let held = true;
    return () => {
      if (held) this.#held.set(queue, (this.#held.get(queue) ?? 1) - 1);
      held = false;
    };
  }

  #changed(): void {
    this.#parts.fleet.fleet.liveRouters = this.#peers?.view.length ?? 1;
    this.#onNews();
  }
}
