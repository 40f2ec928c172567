import type { Msg } from "@nats-io/nats-core";
import {
  CONTENT_TYPES,
  CancelRequest,
  HEADERS,
  JobResult,
  MeshError,
  lastToken,
  type ScoreTerms,
  type Verdict,
} from "../../bus-schemas/index.ts";
import { header, makeHeaders, readBody, respond } from "../../service/messages.ts";
import type { RouteRequest } from "../policy/types.ts";
import type { Claim } from "./claim.ts";
import type { DurableParts } from "./parts.ts";

/** A node takes or refuses a run within this time, milliseconds; nobody waits for a batch at the keyboard. */
const ACCEPT_LIMIT_MS = 1000;
/** A run that its node has not ended this long after its deadline is lost, milliseconds. */
const DEADLINE_GRACE_MS = 10_000;

/** What a run of a durable job came to. */
export type RunOutcome =
  /** `taken` lets the node forget it: call it when nothing can be lost any more. */
  | { type: "result"; result: JobResult; taken: () => void }
  | { type: "refused"; error: MeshError }
  /** The node is gone or silent. */
  | { type: "lost"; error: MeshError }
  /** The job is somebody else's now. */
  | { type: "gone" };

export interface RunOrder {
  claim: Claim;
  nodeId: string;
  model: string;
  request: RouteRequest;
  decision: { score: Pick<ScoreTerms, "predicted_ms"> | null };
  decisionId: string;
  fence: number;
}

interface Run extends RunOrder {
  jobId: string;
  accepted: boolean;
  timer: NodeJS.Timeout;
  done: (outcome: RunOutcome) => void;
}

/** Sends runs of durable jobs to nodes, with their fencing tokens, and hears what becomes of them. */
export class Runs {
  readonly #parts: DurableParts;
  /** Name of this router where nodes speak of such runs. */
  readonly #name: string;
  readonly #inbox: string;
  readonly #runs = new Map<string, Run>();
  #count = 0;

  constructor(parts: DurableParts) {
    this.#parts = parts;
    this.#name = `${parts.id}-d`;
    this.#inbox = `${parts.bus.inbox}.run.`;
    parts.fleet.onLost((nodeId) => this.#onNodeLost(nodeId));
  }

  get size(): number {
    return this.#runs.size;
  }

  start(): void {
    const { bus, verdicts } = this.#parts;
    verdicts.hear<Run>(this.#name, {
      find: (token) => this.#runs.get(token),
      onVerdict: (verdict, run, token) => this.#onVerdict(verdict, run, token),
      onNobody: (token) => {
        const run = this.#runs.get(token);
        if (run === undefined || run.accepted) return;
        this.#parts.fleet.onGone(run.nodeId);
        this.#end(token, { type: "lost", error: new MeshError("node_lost", `${run.nodeId} is not on the bus`) }, false);
      },
    });
    bus.listen(`${this.#inbox}*`, (msg) => this.#onResult(msg));
    bus.listen(bus.subjects.cancels, (msg) => this.#onCancel(msg));
  }

  /** Sends it; the job was counted on the node when that was decided. */
  run(order: RunOrder): Promise<RunOutcome> {
    const { bus } = this.#parts;
    const { claim, fence, model, nodeId, request, decisionId } = order;
    const token = (this.#count++).toString(36);
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#onSilent(token), ACCEPT_LIMIT_MS);
      this.#runs.set(token, { ...order, jobId: claim.jobId, accepted: false, timer, done: resolve });
      void claim.gone.promise.then(() => this.#end(token, { type: "gone" }));
      const { record } = claim.held;
      try {
        bus.nc.publish(bus.subjects.run(request.dataClass, nodeId), claim.msg.data, {
          headers: makeHeaders({
            [HEADERS.contentType]: claim.msg.headers?.get(HEADERS.contentType) ?? CONTENT_TYPES.json,
            [HEADERS.job]: claim.jobId,
            [HEADERS.dataClass]: request.dataClass,
            [HEADERS.deadline]: String(request.deadlineMs),
            [HEADERS.reply]: this.#inbox + token,
            [HEADERS.model]: model,
            [HEADERS.attempt]: String(Math.min(Math.max(1, record.attempts), 9999)),
            [HEADERS.decision]: decisionId,
            [HEADERS.fence]: String(fence),
            [HEADERS.traceparent]: claim.msg.headers?.get(HEADERS.traceparent) || undefined,
          }),
          reply: bus.subjects.verdict(this.#name, nodeId, token),
        });
        // A run that was given up may still go on somewhere. This comes after the new one: a node that has the old one goes on.
        if (record.losses > 0) this.stopOlder(claim.jobId, fence);
        this.#parts.metrics.dispatches.inc();
      } catch (cause) {
        const error = bus.nc.isClosed()
          ? new MeshError("bus_unavailable", "the router is stopping", { cause })
          : new MeshError("payload_too_large", "the job with its headers is larger than the bus takes", { cause });
        this.#end(token, { type: "refused", error });
      }
    });
  }

  /** Stops runs of the job with a lower fencing token than this, wherever they are. */
  stopOlder(jobId: string, fence: number): void {
    const { bus } = this.#parts;
    const body = JSON.stringify({ superseded: true, fence });
    if (!bus.nc.isClosed()) bus.nc.publish(bus.subjects.cancel(jobId), body);
  }

  #onVerdict(verdict: Verdict, run: Run, token: string): void {
    const { fleet, metrics } = this.#parts;
    // The result itself comes by another way, until it is taken.
    if (verdict.type === "ended") {
      if (verdict.timing !== null) fleet.observe(run, verdict.timing, verdict.status);
      return;
    }
    if (verdict.type === "refused") {
      if (run.accepted) return;
      fleet.onRefused(run.nodeId);
      const error = MeshError.fromWire(verdict.error);
      metrics.redispatches.inc({ code: error.code });
      return this.#end(token, { type: "refused", error });
    }
    if (run.accepted) return;
    run.accepted = true;
    clearTimeout(run.timer);
    const leftMs = run.request.deadlineMs - Date.now() + DEADLINE_GRACE_MS;
    run.timer = setTimeout(() => this.#onSilent(token), Math.min(Math.max(leftMs, 0), 2 ** 31 - 1));
  }

  #onSilent(token: string): void {
    const run = this.#runs.get(token);
    if (run === undefined) return;
    const what = run.accepted ? "did not end the job by its deadline" : `did not answer within ${ACCEPT_LIMIT_MS} ms`;
    if (!run.accepted) this.#parts.fleet.onSilent(run.nodeId);
    this.#end(token, { type: "lost", error: new MeshError("node_lost", `${run.nodeId} ${what}`) }, run.accepted);
  }

  #onNodeLost(nodeId: string): void {
    for (const [token, run] of this.#runs) {
      if (run.nodeId !== nodeId) continue;
      this.#end(token, { type: "lost", error: new MeshError("node_lost", `${nodeId} was lost while it ran the job`) });
    }
  }

  #onResult(msg: Msg): void {
    const token = lastToken(msg.subject);
    const taken = () => respond(msg, { taken: true });
    const run = this.#runs.get(token);
    // Of a run that was given up its node hears nothing: whoever goes on with the job may want it.
    if (run === undefined) return;
    if (header(msg, HEADERS.fence) !== String(run.fence)) return;
    try {
      const result = readBody(msg, JobResult);
      if (result.job_id !== run.jobId) throw new MeshError("forbidden", "job_id: not what was asked");
      this.#end(token, { type: "result", result, taken });
    } catch (cause) {
      this.#parts.rejections.add("result", MeshError.from(cause));
    }
  }

  /** Someone stops older runs of a job: whoever does so has it now. */
  #onCancel(msg: Msg): void {
    if (msg.data.length === 0) return;
    const jobId = lastToken(msg.subject);
    const runs = [...this.#runs.values()].filter((run) => run.jobId === jobId);
    if (runs.length === 0) return;
    try {
      const { fence } = readBody(msg, CancelRequest);
      for (const run of runs) if (fence !== undefined && run.fence < fence) run.claim.gone.resolve();
    } catch (cause) {
      this.#parts.rejections.add("cancel", MeshError.from(cause));
    }
  }

  /** @param counted the job still counts on its node */
  #end(token: string, outcome: RunOutcome, counted = true): void {
    const run = this.#runs.get(token);
    if (run === undefined) return;
    this.#runs.delete(token);
    clearTimeout(run.timer);
    if (counted) this.#parts.fleet.onDone(run.nodeId);
    run.done(outcome);
  }
}
