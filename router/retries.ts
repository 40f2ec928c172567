import { MeshError } from "../bus-schemas/index.ts";
import { VERSION } from "../service/version.ts";
import { endingOf } from "./answer.ts";
import { fullNodes, type Dispatch } from "./dispatch-table.ts";
import type { Dispatcher } from "./dispatcher.ts";
import type { RouterParts } from "./parts.ts";
import { decideRecorded, type RecordedDecision } from "./policy/record-inputs.ts";
import { RetryBudget } from "./retry-budget.ts";
import { plainJob } from "./waiting/plain-job.ts";

/** Sends jobs once more that a node refused, failed or was lost with, within the policy's tries and this router's budget. */
export class Retries {
  readonly #parts: RouterParts;
  readonly #to: Pick<Dispatcher, "caps" | "end" | "gate" | "line" | "send">;
  readonly #budget = new RetryBudget();

  constructor(parts: RouterParts, to: Pick<Dispatcher, "caps" | "end" | "gate" | "line" | "send">) {
    this.#parts = parts;
    this.#to = to;
  }

  /** A job was sent: what may be tried again is a share of these. */
  sent(attempt: number): void {
    if (attempt === 1) this.#budget.fresh();
  }

  /** Counts a try that the caller itself asks for. @throws MeshError `rate_limited` when too many jobs are tried again */
  asked(attempt: number): void {
    if (attempt === 1 || this.inBudget()) return;
    throw new MeshError("rate_limited", "too many jobs are tried again in this router", { retryAfterMs: 1000 });
  }

  /**
   * The next pick of the decision, at most `retry_attempts` more and, after a failure, within the router's retry budget; then the
   * job ends with the last reason. Where every other node is full it waits for one.
   */
  redispatch(dispatch: Dispatch, error: MeshError): void {
    const { jobId, request, attempt } = dispatch;
    if (dispatch.cancelled)
      return this.#to.end(endingOf(dispatch, new MeshError("cancelled", "cancelled by the caller")));
    try {
      const { retry_attempts: retries } = this.#parts.policy().routing.defaults;
      const next = attempt <= retries && this.#mayRetry(error) ? this.#nextPick(dispatch) : undefined;
      this.#parts.metrics.redispatches.inc({ code: error.code });
      const { durable } = this.#parts.events.record(
        "job_redispatched",
        {
          job_id: jobId,
          attempt,
          from_node_id: dispatch.nodeId,
          to_node_id: next?.to?.nodeId ?? null,
          error: error.toWire(),
          decision: next?.decision ?? null,
          inputs: next?.inputs ?? null,
        },
        { dataClass: request.dataClass, traceparent: dispatch.traceparent },
      );
      const to = next?.to;
      if (next === undefined) return this.#to.end(endingOf(dispatch, error));
      if (to === undefined) {
        const full = next.decision.error?.code === "all_busy" || fullNodes(dispatch, error).length > 0;
        // Or a machine that sleeps takes it.
        const waits = full || this.#parts.wakes?.help(next.request, 0)?.inTime === true;
        return waits ? this.#wait(dispatch, error) : this.#to.end(endingOf(dispatch, error));
      }
      // The silent node may run it after all, and keeps its place in the cap.
      if (error.code === "node_lost" && !this.#to.caps.mayTake(request.taskType)) return this.#wait(dispatch, error);
      const { request: without, decision } = next;
      const again = {
        ...dispatch,
        ...to,
        request: without,
        decision,
        attempt: attempt + 1,
        sentAtMs: performance.now(),
        full: fullNodes(dispatch, error),
      };
      if (request.dataClass === "P2") this.#to.send(again);
      else void this.#sendRecorded(again, durable);
    } catch (cause) {
      this.#to.end(endingOf(dispatch, MeshError.from(cause)));
    }
  }

  /**
   * A full node's refusal costs a message each way and no work: what routers that race for one place lose by it must not use up the
   * budget that failures need.
   */
  #mayRetry({ code }: MeshError): boolean {
    return code === "all_busy" || this.inBudget();
  }

  /** Whether one more try may be made; it then counts as made. */
  inBudget(): boolean {
    const may = this.#budget.take();
    if (!may) this.#parts.metrics.overBudget.inc();
    return may;
  }

  /** Nodes that were only full may be asked again, once something has changed. */
  #wait(dispatch: Dispatch, error: MeshError): void {
    const { message, attempt, stream, resumes, acceptedBy } = dispatch;
    const full = new Set(fullNodes(dispatch, error));
    const tried = [...dispatch.request.exclude, dispatch.nodeId].filter((nodeId) => !full.has(nodeId));
    const request = { ...dispatch.request, exclude: new Set(tried) };
    const job = { message, request, attempt: attempt + 1, stream, resumes, acceptedBy };
    this.#to.line.enter(plainJob(this.#parts, this.#to, job));
  }

  /** The second try of a P0 or P1 job is as recorded as the first (DESIGN promise 3). */
  async #sendRecorded(dispatch: Dispatch, durable: Promise<void>): Promise<void> {
    const release = this.#to.caps.hold(dispatch.request.taskType);
    try {
      if ((await this.#to.gate.pass(dispatch.jobId, durable)) === undefined)
        this.#to.send({ ...dispatch, sentAtMs: performance.now() });
    } catch (cause) {
      this.#to.end(endingOf(dispatch, MeshError.from(cause)));
    } finally {
      release();
    }
  }

  /** Decides again without the nodes already tried: the class and every filter are checked anew at each hop. */
  #nextPick(dispatch: Dispatch): NextPick {
    const { fleet, policy, random } = this.#parts;
    const request = { ...dispatch.request, exclude: new Set([...dispatch.request.exclude, dispatch.nodeId]) };
    const made = decideRecorded(request, fleet.fleet, policy(), fleet.nowMs(), random, VERSION);
    const { node_id: nodeId, model } = made.decision;
    return { ...made, request, to: nodeId === null || model === null ? undefined : { nodeId, model } };
  }
}

interface NextPick extends RecordedDecision {
  request: Dispatch["request"];
  /** Undefined = nowhere. */
  to: Pick<Dispatch, "nodeId" | "model"> | undefined;
}
