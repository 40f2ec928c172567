import {
  JobResult,
  MeshError,
  type ChatMessage,
  type DataClass,
  type EventData,
  type JobRequest,
  type Layer,
  type Outcome,
  type Timing,
} from "../bus-schemas/index.ts";
import type { Answer } from "./answer.ts";
import type { EnergyMeter } from "./model/energy.ts";
import type { DeclaredClasses, RuntimeChunk, RuntimeDone } from "./runtimes/runtime.ts";

/** A job as it came off the bus, checked. */
export interface JobFacts {
  jobId: string;
  request: JobRequest;
  messages: readonly ChatMessage[];
  parameters: Readonly<Record<string, unknown>>;
  /** The last of the messages is the beginning of the answer, by another node. */
  continues: boolean;
  dataClass: DataClass;
  declared: DeclaredClasses;
  model: string;
  inbox: string;
  deadlineMs: number;
  attempt: number;
  /** Task queue, as the router says it; null = not told. */
  queue: string | null;
  decisionId: string | null;
  traceparent: string | undefined;
  /** Estimate. */
  promptTokens: number;
  /** It came sealed, and so goes its answer. */
  sealed: boolean;
  /** Of a durable job: the fencing token under which it was ordered. */
  fence?: number;
  /** Who goes on with it when this node fails for a reason that another may not have. */
  handBack: "router" | "caller" | undefined;
}

export interface JobPlace {
  nodeId: string;
  layer: Layer;
  diagnostic: boolean;
  /** Estimate; 0 when the model is in memory. */
  coldStartMs: number;
  /** Measures this machine's electricity; none where a job's work is done elsewhere. */
  energy?: EnergyMeter | undefined;
}

export interface Ended {
  status: Outcome;
  timing: Timing | null;
  /** The client submitted the job again elsewhere: no ending is recorded for this try. */
  superseded: boolean;
  /** It goes on elsewhere: no ending is recorded here. */
  handedBack: boolean;
  /** Of one handed back to its router: tells the caller after all, when that router does not take it. */
  tellAnyway: (() => void) | undefined;
  event: EventData<"job_ended">;
}

interface Ending {
  status: Outcome;
  error: MeshError | null;
  /** Of an answer that was completed. */
  done?: RuntimeDone;
  superseded?: boolean;
}

type State = "queued" | "running" | "ended";

/**
 * One accepted job: `queued → running → ended`, once. It tells the caller, and `onEnded` the node, exactly once; what
 * the runtime says afterwards is ignored.
 */
export class Job {
  readonly facts: JobFacts;
  readonly #answer: Answer;
  readonly #place: JobPlace;
  readonly #onEnded: (ended: Ended) => void;
  readonly #acceptedAtMs = performance.now();
  readonly #deadlineTimer: NodeJS.Timeout;
  #state: State = "queued";
  #startedAtMs: number | undefined;
  #firstAtMs: number | undefined;
  /** Ends the measuring of a run. */
  #energyTaken: (() => number | null) | undefined;
  /** Stops the run in progress; set by who started it. */
  #stopRun: (() => void) | undefined;

  constructor(facts: JobFacts, answer: Answer, place: JobPlace, onEnded: (ended: Ended) => void) {
    this.facts = facts;
    this.#answer = answer;
    this.#place = place;
    this.#onEnded = onEnded;
    // setTimeout holds at most 2^31-1 ms; no deadline of ours is that far.
    this.#deadlineTimer = setTimeout(
      () => this.fail(new MeshError("deadline_exceeded", "the deadline passed before the answer was complete")),
      Math.min(facts.deadlineMs - Date.now(), 2 ** 31 - 1),
    );
    answer.accepted({
      type: "accepted",
      job_id: facts.jobId,
      node_id: place.nodeId,
      layer: place.layer,
      model: facts.model,
      security_level: facts.dataClass,
      diagnostic: place.diagnostic,
      decision_id: facts.decisionId,
      cold_start_ms: place.coldStartMs === 0 ? null : Math.round(place.coldStartMs),
    });
  }

  get state(): State {
    return this.#state;
  }

  /** True until the first piece of the answer: its prompt still has to be read. */
  get prefilling(): boolean {
    return this.#firstAtMs === undefined && this.#state !== "ended";
  }

  started(stopRun: () => void): void {
    this.#state = "running";
    this.#startedAtMs = performance.now();
    this.#energyTaken = this.#place.energy?.begin();
    this.#stopRun = stopRun;
    this.#answer.queued = false;
  }

  onChunk(chunk: RuntimeChunk): void {
    if (this.#state !== "running") return;
    if (chunk.type === "done") return this.#end({ status: "finished", error: null, done: chunk });
    this.#firstAtMs ??= performance.now();
    if (this.#answer.delta(chunk)) return;
    const why =
      this.facts.request.stream === true
        ? "a piece of the answer is larger than the bus takes"
        : "the answer is too large for one reply; ask with stream: true";
    this.fail(new MeshError("payload_too_large", why));
  }

  fail(error: MeshError): void {
    this.#end({ status: error.code === "deadline_exceeded" ? "expired" : "failed", error });
  }

  /** @param superseded the caller already asked elsewhere: end without telling or recording. */
  cancel(superseded = false): void {
    if (superseded) this.#answer.close();
    this.#end({ status: "cancelled", error: new MeshError("cancelled", "cancelled by the caller"), superseded });
  }

  #end({ status, error, done, superseded = false }: Ending): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    clearTimeout(this.#deadlineTimer);
    if (status !== "finished") this.#stopRun?.();
    const { handBack } = this.facts;
    // A whole answer that nobody can hear is asked for again; the pieces of a stream are missed by its caller itself.
    if (status === "finished" && handBack === "router" && this.#answer.away) {
      [status, done] = ["failed", undefined];
      error = new MeshError("node_lost", `${this.#place.nodeId} was away from the bus when it had the answer`);
    }
    const handedBack = status === "failed" && error?.retryable === true && handBack !== undefined && !superseded;
    const timing = this.#timing();
    const energyWh = this.#energyTaken?.() ?? null;
    const { jobId, dataClass, model, decisionId, attempt } = this.facts;
    const { nodeId, layer, diagnostic } = this.#place;
    const shared = {
      job_id: jobId,
      status,
      node_id: nodeId,
      layer,
      model,
      decision_id: decisionId,
      finish_reason: done?.finishReason ?? null,
      usage: done?.usage ?? null,
      timing,
      error: error?.toWire() ?? null,
    };
    const result = { ...shared, security_level: dataClass, diagnostic, attempts: attempt, energy_wh: energyWh };
    // Its router asks the next node; whether it is still there shows when it says so.
    const quiet = handedBack && handBack === "router";
    const told = quiet ? JobResult.parse(result) : this.#answer.end({ ...result, handed_back: handedBack });
    const tellAnyway = quiet ? () => void this.#answer.end(result) : undefined;
    // What is recorded is what the caller was told.
    const cost = done?.cost === undefined ? {} : { cost: done.cost };
    const energy = energyWh === null ? {} : { energy_wh: energyWh };
    const sealed = this.facts.sealed ? { sealed: true } : {};
    const event = {
      ...shared,
      ...cost,
      ...energy,
      ...sealed,
      status: told.status,
      finish_reason: told.finish_reason,
      error: told.error,
    };
    this.#onEnded({ status: told.status, timing, superseded, handedBack, tellAnyway, event });
  }

  #timing(): Timing {
    const nowMs = performance.now();
    const startedAtMs = this.#startedAtMs ?? nowMs;
    return {
      queued_ms: round(startedAtMs - this.#acceptedAtMs),
      ttft_ms: this.#firstAtMs === undefined ? null : round(this.#firstAtMs - startedAtMs),
      total_ms: round(nowMs - this.#acceptedAtMs),
    };
  }
}

/** To a tenth of a millisecond. */
function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
