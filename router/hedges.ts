import { MeshError } from "../bus-schemas/index.ts";
import { respond } from "../service/messages.ts";
import { VERSION } from "../service/version.ts";
import type { Dispatch } from "./dispatch-table.ts";
import type { Dispatcher } from "./dispatcher.ts";
import type { RouterParts } from "./parts.ts";
import { decideRecorded } from "./policy/record-inputs.ts";

/** A caller of a stream hears once in this time that its job is worked on: its nodes may not say so yet. Milliseconds. */
const STILL_HERE_MS = 1000;

/** The nodes that try one job at the same time. */
interface Group {
  /** With the tokens of their verdicts. */
  members: Map<Dispatch, string>;
  hedgeAtMs: number;
  /** No second node is asked any more. */
  hedged: boolean;
  /** Who had something to tell first, and tells it. */
  winner: Dispatch | undefined;
  toldMs: number;
}

/**
 * Hedging (Dean and Barroso, "The Tail at Scale", CACM 56(2), 2013), off unless a queue's policy says `hedge_after_ms`: a job of which
 * no node has written anything by then is given to a second one too, and the first that has something to tell is the one that tells
 * it. That there is one answer rests on the go-ahead (ADR 0020), which nodes ask here only when they have their first word. Only first
 * tries are hedged, within the router's retry budget; sealed and durable jobs never are.
 */
export class Hedges {
  readonly #parts: RouterParts;
  readonly #to: Pick<Dispatcher, "caps" | "drop" | "gate" | "retries" | "send">;
  readonly #groups = new Map<string, Group>();

  constructor(parts: RouterParts, to: Pick<Dispatcher, "caps" | "drop" | "gate" | "retries" | "send">) {
    this.#parts = parts;
    this.#to = to;
  }

  get size(): number {
    return this.#groups.size;
  }

  /** Takes note of a dispatch. @returns whether its node may ask for its go-ahead only when it has something to tell */
  sent(dispatch: Dispatch, token: string): boolean {
    const { jobId, request, attempt, sentAtMs } = dispatch;
    const group = this.#groups.get(jobId);
    if (group !== undefined) {
      group.members.set(dispatch, token);
      return true;
    }
    const afterMs = this.#parts.policy().routing.task_queues[request.taskType]?.hedge_after_ms;
    if (afterMs === undefined || attempt > 1) return false;
    const members = new Map([[dispatch, token]]);
    this.#groups.set(jobId, {
      members,
      hedgeAtMs: sentAtMs + afterMs,
      hedged: false,
      winner: undefined,
      toldMs: sentAtMs,
    });
    return true;
  }

  /** A node has its first word: whether it may tell it. The others are told to stop. */
  mayTell(dispatch: Dispatch): boolean {
    const group = this.#groups.get(dispatch.jobId);
    if (group === undefined || !group.members.has(dispatch)) return true;
    group.winner ??= dispatch;
    if (group.winner !== dispatch) return false;
    group.hedged = true;
    for (const [other, token] of group.members) {
      if (other === dispatch) continue;
      group.members.delete(other);
      this.#to.drop(other, token);
    }
    return true;
  }

  /** A dispatch is over without an answer. @returns whether another node goes on with its job */
  left(dispatch: Dispatch): boolean {
    const group = this.#groups.get(dispatch.jobId);
    if (group?.members.delete(dispatch) !== true) return false;
    if (group.members.size > 0) return true;
    this.#groups.delete(dispatch.jobId);
    return false;
  }

  /** Asks second nodes; call it about every 50 ms. */
  sweep(): void {
    const nowMs = performance.now();
    for (const group of this.#groups.values()) {
      const [dispatch] = group.members.keys();
      if (dispatch === undefined || group.winner !== undefined) continue;
      if (dispatch.stream && nowMs - group.toldMs >= STILL_HERE_MS) {
        group.toldMs = nowMs;
        respond(dispatch.message, { type: "working", queued: false });
      }
      if (group.hedged || nowMs < group.hedgeAtMs || dispatch.cancelled) continue;
      group.hedged = true;
      void this.#hedge(dispatch);
    }
  }

  async #hedge(dispatch: Dispatch): Promise<void> {
    const { events, fleet, log, metrics, policy, random } = this.#parts;
    const { jobId, attempt, nodeId, traceparent } = dispatch;
    const request = { ...dispatch.request, exclude: new Set([...dispatch.request.exclude, nodeId]) };
    const { dataClass, taskType } = request;
    if (!this.#to.caps.mayTake(taskType)) return;
    const { decision, inputs } = decideRecorded(request, fleet.fleet, policy(), fleet.nowMs(), random, VERSION);
    const { node_id: to, model } = decision;
    if (to === null || model === null || !this.#to.retries.inBudget()) return;
    const release = this.#to.caps.hold(taskType);
    try {
      const data = { job_id: jobId, attempt, from_node_id: nodeId, to_node_id: to, decision, inputs };
      const { durable } = events.record("job_hedged", data, { dataClass, traceparent });
      // As before each dispatch (DESIGN promise 3).
      if (dataClass !== "P2") await durable;
      // Meanwhile the first may have spoken, or ended.
      const group = this.#groups.get(jobId);
      if (group?.winner !== undefined || group?.members.has(dispatch) !== true || dispatch.cancelled) return;
      metrics.hedges.inc();
      const again = { request, decision, nodeId: to, model, attempt: attempt + 1, sentAtMs: performance.now() };
      this.#to.send({ ...dispatch, ...again, acceptedBy: undefined });
    } catch (cause) {
      // The first node has it all the same.
      log.warn({ err: MeshError.from(cause), job: jobId }, "a job could not be hedged");
    } finally {
      release();
    }
  }
}
