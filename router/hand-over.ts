import { LostNotice, MeshError, type CancelRequest, type DataClass, type WireError } from "../bus-schemas/index.ts";
import { encode } from "../service/codec.ts";
import { headersFor, respond } from "../service/messages.ts";
import type { Dispatch } from "./dispatch-table.ts";
import type { Endings } from "./endings.ts";
import type { RouterParts } from "./parts.ts";

/** A caller goes on, or says that it does not, within this time, or it is gone itself, milliseconds. */
const CALLER_LIMIT_MS = 30_000;
/** Jobs that are remembered of a node that may come back with them. */
const MAX_LEFTOVERS = 1000;

interface Between {
  dispatch: Dispatch;
  error: MeshError;
  untilMs: number;
}

/**
 * Jobs whose node was lost, or failed, after it had accepted them (ADR 0016). Their callers go on themselves where they said
 * that they do; then the ending is the next try's to record, and it is recorded here only when there is none. What a lost node
 * may still run is ended there when it comes back, so that nobody hears two answers.
 */
export class HandOver {
  readonly #parts: Pick<RouterParts, "bus" | "events" | "fleet" | "log" | "policy">;
  readonly #endings: Pick<Endings, "record">;
  readonly #between = new Map<string, Between>();
  /** By node: jobs that went on elsewhere while it was away, and until when that matters. */
  readonly #leftovers = new Map<string, Map<string, number>>();

  constructor(
    parts: Pick<RouterParts, "bus" | "events" | "fleet" | "log" | "policy">,
    endings: Pick<Endings, "record">,
  ) {
    this.#parts = parts;
    this.#endings = endings;
    parts.fleet.onBack((nodeId) => this.#onBack(nodeId));
  }

  /** Tries that a job has left after this one. */
  triesLeft({ attempt }: Pick<Dispatch, "attempt">): number {
    return Math.max(0, this.#parts.policy().routing.defaults.retry_attempts + 1 - attempt);
  }

  /** Whether its caller goes on after this try. */
  callerGoesOn(dispatch: Dispatch): boolean {
    return dispatch.stream && dispatch.resumes && this.triesLeft(dispatch) > 0;
  }

  /** Ends what the node still runs of a job that goes on elsewhere: now, and if it does not hear that, when it is back. */
  supersede({ jobId, nodeId, request }: Dispatch): void {
    this.#cancel(jobId, nodeId);
    let jobs = this.#leftovers.get(nodeId);
    if (jobs === undefined) this.#leftovers.set(nodeId, (jobs = new Map()));
    if (jobs.size < MAX_LEFTOVERS) jobs.set(jobId, request.deadlineMs);
  }

  /** Tells a caller that goes on that the node is lost. */
  tellLost(dispatch: Dispatch): void {
    const { jobId: job_id, nodeId: node_id, message } = dispatch;
    respond(message, LostNotice.parse({ type: "lost", job_id, node_id, attempts_left: this.triesLeft(dispatch) }));
  }

  /** From now on the caller has the job: it asks for the next try, or ends it. */
  toCaller(dispatch: Dispatch, error: MeshError): void {
    // Its word was here first.
    if (dispatch.cancelled) return this.#end(dispatch, error);
    this.#between.set(dispatch.jobId, { dispatch, error, untilMs: performance.now() + CALLER_LIMIT_MS });
    this.recordHop(dispatch, error.toWire());
  }

  /** The hop of a job that its caller takes on. */
  recordHop({ jobId, attempt, nodeId, request, traceparent }: Dispatch, error: WireError): void {
    const hop = { job_id: jobId, attempt, from_node_id: nodeId, to_node_id: null, error, decision: null, inputs: null };
    const about: { dataClass: DataClass; traceparent: string | undefined } = {
      dataClass: request.dataClass,
      traceparent,
    };
    try {
      this.#parts.events.record("job_redispatched", hop, about);
    } catch (cause) {
      this.#parts.log.warn({ err: cause, job: jobId }, "the hop of a job could not be recorded");
    }
  }

  /** A word of the caller on its job: a next try has the ending to record; without one it is recorded here. */
  onCancel(jobId: string, { superseded, gave_up: gaveUp }: CancelRequest): void {
    const between = this.#between.get(jobId);
    if (between === undefined) return;
    this.#between.delete(jobId);
    if (superseded) return;
    const how = gaveUp
      ? new MeshError("stream_interrupted", `${between.dispatch.nodeId} was lost in the middle of its answer`)
      : new MeshError("cancelled", "cancelled by the caller");
    this.#end(between.dispatch, how);
  }

  /** Records the endings of jobs whose callers are gone, forgets what no longer matters; call it at least every second. */
  sweep(): void {
    const nowMs = performance.now();
    for (const [jobId, { dispatch, error, untilMs }] of this.#between) {
      if (untilMs > nowMs) break;
      this.#between.delete(jobId);
      this.#end(dispatch, error);
    }
    for (const [nodeId, jobs] of this.#leftovers) {
      for (const [jobId, deadlineMs] of jobs) if (deadlineMs < Date.now()) jobs.delete(jobId);
      if (jobs.size === 0) this.#leftovers.delete(nodeId);
    }
  }

  #end({ message, jobId, attempt, request, decisionId, nodeId }: Dispatch, error: MeshError): void {
    this.#endings.record({
      message,
      jobId,
      error,
      attempts: attempt,
      dataClass: request.dataClass,
      decisionId,
      nodeId,
    });
  }

  #onBack(nodeId: string): void {
    const jobs = this.#leftovers.get(nodeId);
    this.#leftovers.delete(nodeId);
    for (const jobId of jobs?.keys() ?? []) this.#cancel(jobId, nodeId);
  }

  #cancel(jobId: string, nodeId: string): void {
    const { bus } = this.#parts;
    if (bus.nc.isClosed() || bus.nc.isDraining()) return;
    const body = { superseded: true, node_id: nodeId, by_router: true };
    bus.nc.publish(bus.subjects.cancel(jobId), encode(body, "json"), { headers: headersFor("json") });
  }
}
