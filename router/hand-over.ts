import {
  LostNotice,
  MeshError,
  type CancelRequest,
  type DataClass,
  type Verdict,
  type WireError,
} from "../bus-schemas/index.ts";
import { encode } from "../service/codec.ts";
import { headersFor, respond } from "../service/messages.ts";
import { endingOf } from "./answer.ts";
import type { Dispatch, DispatchTable } from "./dispatch-table.ts";
import type { Endings } from "./endings.ts";
import type { RouterParts } from "./parts.ts";

/** A caller goes on, or says that it does not, within this time, or it is gone itself, milliseconds. */
const CALLER_LIMIT_MS = 30_000;
/** Jobs that are remembered of a node that may come back with them. */
const MAX_LEFTOVERS = 1000;
/** A job of whose ending its node says nothing is ended here this long after its deadline, milliseconds. */
export const OVERDUE_MS = 2000;
/**
 * A node that was just told that a job is its to tell of has so long, milliseconds: it relies on that for a second (agent/go-aheads.ts),
 * and its word has a way to go. But not for ever: a caller is told something this long after its deadline.
 */
const GO_AHEAD_STANDS_MS = 1500;
const LATEST_MS = 2 * OVERDUE_MS;

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
  readonly #endings: Endings;
  readonly #between = new Map<string, Between>();
  /** By node: jobs that went on elsewhere while it was away, and until when that matters. */
  readonly #leftovers = new Map<string, Map<string, number>>();

  constructor(parts: Pick<RouterParts, "bus" | "events" | "fleet" | "log" | "policy">, endings: Endings) {
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

  /** A node has taken a job: whatever became of its earlier tries, its ending is this one's. */
  onAccepted(dispatch: Dispatch): void {
    dispatch.acceptedBy = dispatch.nodeId;
    this.wentOn(dispatch.jobId);
  }

  /** A node has taken the next try of a job, here or at another router. */
  wentOn(jobId: string): void {
    this.#between.delete(jobId);
  }

  /**
   * Learns from an ending, and leaves a stream that is handed back to its caller.
   * @returns why, when the job goes on elsewhere
   */
  onEnded(dispatch: Dispatch, verdict: Extract<Verdict, { type: "ended" }>): MeshError | undefined {
    const { fleet } = this.#parts;
    const { error: wire, handed_back: handedBack, status, timing } = verdict;
    const error = wire === null ? undefined : MeshError.fromWire(wire);
    if (timing !== null) fleet.observe(dispatch, timing, status);
    // Whose owner takes it back has not failed.
    if (status === "failed" && error?.retryable !== false && error?.code !== "draining")
      fleet.onFailed(dispatch.nodeId);
    if (!handedBack || error === undefined) return undefined;
    if (dispatch.stream) this.#toCaller(dispatch, error);
    return error;
  }

  /** The node of a stream is lost: its caller goes on, or that is the end. */
  toCallerOrEnd(dispatch: Dispatch, error: MeshError): void {
    const { jobId: job_id, nodeId: node_id, message, cancelled, acceptedBy } = dispatch;
    const cause = cancelled ? new MeshError("cancelled", "cancelled by the caller") : error;
    if (cancelled || !this.callerGoesOn(dispatch)) return this.#endings.end(endingOf(dispatch, cause));
    respond(message, LostNotice.parse({ type: "lost", job_id, node_id, attempts_left: this.triesLeft(dispatch) }));
    // One that was not accepted is like one that was refused.
    if (acceptedBy !== undefined) this.#toCaller(dispatch, error);
  }

  /**
   * Ends jobs whose node took them and neither answered nor failed; call it about twice a second.
   * @param goesOn another node has the job, too
   */
  endOverdue(table: DispatchTable, goesOn: (dispatch: Dispatch) => boolean = () => false): void {
    const [nowMs, steadyMs] = [this.#parts.fleet.nowMs(), performance.now()];
    const overdue = ({ goAheadAtMs = -Infinity, request: { deadlineMs } }: Dispatch) =>
      nowMs - deadlineMs > (steadyMs - goAheadAtMs < GO_AHEAD_STANDS_MS ? LATEST_MS : OVERDUE_MS);
    for (const dispatch of table.takeRunning(overdue)) {
      const { nodeId } = dispatch;
      this.#parts.fleet.onDone(nodeId);
      this.supersede(dispatch);
      if (goesOn(dispatch)) continue;
      const error = new MeshError("deadline_exceeded", `${nodeId} took the job and did not end it before the deadline`);
      this.#endings.end(endingOf(dispatch, error));
    }
  }

  /** A caller asks for its job again, having heard nothing, or nothing more of the node that it names. */
  onSuperseded(table: DispatchTable, jobId: string, heardOf: string | undefined): void {
    // What another node has is meant by the word that names none, which follows.
    if (heardOf !== undefined && table.findJob(jobId)?.nodeId !== heardOf) return;
    const old = table.takeJob(jobId, true);
    if (old === undefined) return;
    this.#parts.fleet.onDone(old.nodeId);
    if (old.acceptedBy === undefined) return;
    // It took the job and said nothing to its caller: in its favour speaks only that it sends heartbeats.
    this.#parts.fleet.onMute(old.nodeId);
    this.#recordHop(old, new MeshError("node_lost", "its caller heard nothing more of it").toWire());
  }

  /** From now on the caller has the job: it asks for the next try, or ends it. */
  #toCaller(dispatch: Dispatch, error: MeshError): void {
    // Its word was here first.
    if (dispatch.cancelled) return this.#endings.record(endingOf(dispatch, error));
    this.#between.set(dispatch.jobId, { dispatch, error, untilMs: performance.now() + CALLER_LIMIT_MS });
    this.#recordHop(dispatch, error.toWire());
  }

  /** The hop of a job that its caller takes on. */
  #recordHop({ jobId, attempt, nodeId, request, traceparent }: Dispatch, error: WireError): void {
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
    this.#endings.record(endingOf(between.dispatch, how));
  }

  /** Records the endings of jobs whose callers are gone, forgets what no longer matters; call it at least every second. */
  sweep(): void {
    const nowMs = performance.now();
    for (const [jobId, { dispatch, error, untilMs }] of this.#between) {
      if (untilMs > nowMs) break;
      this.#between.delete(jobId);
      this.#endings.record(endingOf(dispatch, error));
    }
    for (const [nodeId, jobs] of this.#leftovers) {
      for (const [jobId, deadlineMs] of jobs) if (deadlineMs < this.#parts.fleet.nowMs()) jobs.delete(jobId);
      if (jobs.size === 0) this.#leftovers.delete(nodeId);
    }
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
