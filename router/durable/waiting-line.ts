import { MeshError, type Decision } from "../../bus-schemas/index.ts";
import { VERSION } from "../../service/version.ts";
import { decide } from "../policy/decide.ts";
import { decideRecorded, type RecordedDecision } from "../policy/record-inputs.ts";
import type { RouteRequest } from "../policy/types.ts";
import type { Claim } from "./claim.ts";
import type { DurableParts } from "./parts.ts";
import { WAIT_MS } from "../waiting/room.ts";
import { routeOf } from "./route-of.ts";

/** A job that no node takes gives its place in the queue to others after this time, milliseconds. */
const HOLD_MS = 10_000;

/** Where a job in hand goes next. */
export type Next =
  | { to: "node"; nodeId: string; model: string; request: RouteRequest; made: RecordedDecision }
  /** Behind the others of its queue. */
  | { to: "tail"; error: MeshError }
  | { to: "dead"; error: MeshError }
  | { to: "expired" }
  /** The job is somebody else's now, or this router stops. */
  | { to: "nobody" };

interface Waiter {
  claim: Claim;
  sinceMs: number;
  /** How long it had waited when machines that sleep were last asked for. */
  helpedMs: number;
  done: (next: Next) => void;
}

/**
 * Jobs in hand that wait for a node: the queue of the higher priority first, within one in the broker's order. What is
 * decided is counted at once on its node, so that the next decision knows.
 */
export class WaitingLine {
  readonly #parts: Pick<DurableParts, "fleet" | "policy" | "random" | "wakes">;
  readonly #waiters = new Set<Waiter>();
  #stopped = false;

  constructor(parts: Pick<DurableParts, "fleet" | "policy" | "random" | "wakes">) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#waiters.size;
  }

  /** @returns undefined when the job has to wait: then `wait` */
  now(claim: Claim): Next | undefined {
    const next = this.#place(claim, true);
    return "to" in next ? next : undefined;
  }

  /** Resolves when a node takes the job, or nothing will. */
  wait(claim: Claim): Promise<Next> {
    claim.exclude.clear();
    return new Promise((resolve) => {
      if (this.#stopped) return resolve({ to: "nobody" });
      const waiter: Waiter = { claim, sinceMs: Date.now(), helpedMs: 0, done: resolve };
      this.#waiters.add(waiter);
      void claim.gone.promise.then(() => this.#finish(waiter, { to: "nobody" }));
    });
  }

  /** Looks for nodes again; call it several times a second. */
  tick(): void {
    const { task_queues: queues } = this.#parts.policy().routing;
    const rank = ({ claim }: Waiter) => queues[claim.queue]?.priority ?? 0;
    const line = [...this.#waiters].sort((a, b) => rank(b) - rank(a) || a.claim.msg.seq - b.claim.msg.seq);
    for (const waiter of line) {
      const next = this.#place(waiter.claim, false);
      const waitedMs = Date.now() - waiter.sinceMs;
      if ("to" in next) {
        this.#finish(waiter, next);
        continue;
      }
      // No passing burst: a machine that sleeps may take it by the time that its turn comes again.
      if (waitedMs - waiter.helpedMs > WAIT_MS.calm) {
        waiter.helpedMs = waitedMs;
        this.#parts.wakes?.help(next.request, 0);
      }
      if (waitedMs > HOLD_MS)
        this.#finish(waiter, { to: next.error.code === "model_not_found" ? "dead" : "tail", error: next.error });
    }
  }

  /** Lets all go: they are other routers' now. */
  stop(): void {
    this.#stopped = true;
    for (const waiter of this.#waiters) this.#finish(waiter, { to: "nobody" });
  }

  #finish(waiter: Waiter, next: Next): void {
    if (this.#waiters.delete(waiter)) waiter.done(next);
    // Decided for a job that had left the line just before.
    else if (next.to === "node") this.#parts.fleet.onDone(next.nodeId);
  }

  /**
   * @param likely that a node takes it; most of those that wait go on waiting, and what would be recorded of it costs
   * @returns where to, or why not now
   */
  #place(claim: Claim, likely: boolean): Next | NotNow {
    const { fleet, policy, random } = this.#parts;
    const nowMs = Date.now();
    if (claim.held.record.deadline_unix_ms <= nowMs) return { to: "expired" };
    try {
      const request = routeOf(claim, policy().routing, nowMs);
      const looked = likely ? undefined : decide(request, fleet.fleet, policy(), nowMs, random);
      if (looked?.outcome === "refused") return notNow(looked, request);
      const made = decideRecorded(request, fleet.fleet, policy(), nowMs, random, VERSION);
      const { node_id: nodeId, model } = made.decision;
      if (nodeId === null || model === null) return notNow(made.decision, request);
      fleet.onDispatch(nodeId);
      return { to: "node", nodeId, model, request, made };
    } catch (cause) {
      return { to: "dead", error: MeshError.from(cause) };
    }
  }
}

interface NotNow {
  error: MeshError;
  request: RouteRequest;
}

function notNow({ error }: Pick<Decision, "error">, request: RouteRequest): Next | NotNow {
  const why = error === null ? new MeshError("no_node", "no node can take this job") : MeshError.fromWire(error);
  return hopeless(why) ? { to: "dead", error: why } : { error: why, request };
}

/**
 * Waiting will not help. A model that nobody serves may come back with its node, which is waited for a while; and that no node
 * would be done in time, as long as the job's own deadline is not there, is a matter of how busy they are.
 */
function hopeless(error: MeshError): boolean {
  return !error.retryable && error.code !== "model_not_found" && error.code !== "deadline_exceeded";
}
