import type { Verdict } from "../../bus-schemas/index.ts";

/** Jobs of other routers that are remembered at most; the oldest are forgotten first. */
const MAX_JOBS = 50_000;

interface Running {
  router: string;
  queue: string | null;
  nodeId: string;
  jobId: string;
  acceptedMs: number;
}

/** Jobs that run for other routers, by the nodes' verdicts, which every router hears (ADR 0010). */
export class RunningElsewhere {
  /** By router and dispatch. */
  readonly #running = new Map<string, Running>();
  readonly #jobs = new Map<string, number>();

  /** A node's word to another router. @param router its name, without what marks tickets */
  onVerdict(verdict: Verdict, router: string, dispatch: string, nowMs: number): { known: boolean } {
    const key = `${router} ${dispatch}`;
    const known = this.#running.has(key);
    if (verdict.type !== "accepted") this.#delete(key);
    else if (!known) {
      if (this.#running.size >= MAX_JOBS) this.#delete(this.#running.keys().next().value ?? "");
      const { queue, node_id: nodeId, job_id: jobId } = verdict;
      this.#running.set(key, { router, queue, nodeId, jobId, acceptedMs: nowMs });
      this.#jobs.set(jobId, (this.#jobs.get(jobId) ?? 0) + 1);
    }
    return { known };
  }

  has(jobId: string): boolean {
    return this.#jobs.has(jobId);
  }

  /** Jobs of a router by queue. */
  countsOf(router: string): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { router: of, queue } of this.#running.values())
      if (of === router && queue !== null) counts[queue] = (counts[queue] ?? 0) + 1;
    return counts;
  }

  /** A lost node's jobs have ended; jobs that `match` are over by their lease. */
  forget(match: (running: Readonly<Running>) => boolean): void {
    for (const [key, running] of this.#running) if (match(running)) this.#delete(key);
  }

  #delete(key: string): void {
    const running = this.#running.get(key);
    if (running === undefined) return;
    this.#running.delete(key);
    const left = (this.#jobs.get(running.jobId) ?? 1) - 1;
    if (left === 0) this.#jobs.delete(running.jobId);
    else this.#jobs.set(running.jobId, left);
  }
}
