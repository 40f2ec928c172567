import {
  JobResult,
  MeshError,
  type ChatMessage,
  type DataClass,
  type DeltaFrame,
  type EventData,
  type JobRequest,
  type Layer,
  type Outcome,
  type TaskInput,
  type Timing,
} from "../bus-schemas/index.ts";
import type { Answer } from "./answer.ts";
import { endedEvent } from "./ended-event.ts";
import { JobCommitments } from "./job-commitments.ts";
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
  /** Of a task other than chat; then there are no messages. */
  input?: TaskInput;
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
  /** Its router says whether it is still this node's, before anything of it is told; when it is asked for that. */
  goAhead: "at once" | "when it speaks" | undefined;
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

/** Where a job is held until something is known, and what is asked before it ends. */
export interface JobGuard {
  /** Nothing of it is told or recorded until {@link Job.goOn}. */
  held: boolean;
  /** It is about to say something; `last`: how it ended. May hold it. */
  beforeWord(job: Job, last: boolean): void;
}

const UNGUARDED: JobGuard = { held: false, beforeWord: () => undefined };

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
  readonly #guard: JobGuard;
  readonly #commitments: JobCommitments;
  /** What is to be told when it goes on; undefined = it is not held. */
  #held: (() => void)[] | undefined;
  #announced = false;
  readonly #acceptedAtMs = performance.now();
  readonly #deadlineTimer: NodeJS.Timeout;
  #state: State = "queued";
  #startedAtMs: number | undefined;
  #firstAtMs: number | undefined;
  /** Ends the measuring of a run. */
  #energyTaken: (() => number | null) | undefined;
  /** Stops the run in progress; set by who started it. */
  #stopRun: (() => void) | undefined;

  constructor(
    facts: JobFacts,
    answer: Answer,
    place: JobPlace,
    onEnded: (ended: Ended) => void,
    guard: JobGuard = UNGUARDED,
  ) {
    this.facts = facts;
    this.#guard = guard;
    this.#commitments = new JobCommitments(facts.request);
    this.#answer = answer;
    this.#place = place;
    this.#onEnded = onEnded;
    // setTimeout holds at most 2^31-1 ms; no deadline of ours is that far.
    this.#deadlineTimer = setTimeout(
      () => this.fail(new MeshError("deadline_exceeded", "the deadline passed before the answer was complete")),
      Math.min(facts.deadlineMs - Date.now(), 2 ** 31 - 1),
    );
    if (guard.held) this.hold();
    else this.#announce();
  }

  #announce(): void {
    const { jobId, model, dataClass, decisionId } = this.facts;
    const { nodeId, layer, diagnostic, coldStartMs } = this.#place;
    this.#announced = true;
    this.#answer.accepted({
      type: "accepted",
      job_id: jobId,
      node_id: nodeId,
      layer,
      model,
      security_level: dataClass,
      diagnostic,
      decision_id: decisionId,
      cold_start_ms: coldStartMs === 0 ? null : Math.round(coldStartMs),
    });
  }

  /** It runs on, and keeps what there is to tell until it goes on. */
  hold(): void {
    this.#held ??= [];
    this.#answer.held = true;
  }

  /** Tells what was kept, in its order. */
  goOn(): void {
    const kept = this.#held ?? [];
    this.#held = undefined;
    this.#answer.held = false;
    if (!this.#announced && this.#state !== "ended") this.#announce();
    for (const tell of kept) tell();
  }

  /** Says a word, now or when it goes on. */
  #say(last: boolean, word: () => void): void {
    this.#guard.beforeWord(this, last);
    if (this.#held === undefined) word();
    else this.#held.push(word);
  }

  /** By which what leaves the house is committed to. */
  get commitmentSalt(): string {
    return this.#commitments.salt;
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
    if (chunk.type === "sent") return void (this.#commitments.egress = chunk.commitment);
    if (chunk.type !== "done") this.#firstAtMs ??= performance.now();
    this.#say(chunk.type === "done", () => this.#tell(chunk));
  }

  #tell(chunk: DeltaFrame | RuntimeDone): void {
    if (chunk.type === "done") return this.#end({ status: "finished", error: null, done: chunk });
    if (this.#answer.delta(chunk)) return this.#commitments.take(chunk);
    const why =
      this.facts.request.stream === true
        ? "a piece of the answer is larger than the bus takes"
        : "the answer is too large for one reply; ask with stream: true";
    this.fail(new MeshError("payload_too_large", why));
  }

  fail(error: MeshError): void {
    if (this.#state === "ended") return;
    this.#abandonRun();
    this.#say(true, () => this.stop(error));
  }

  /** Fails now, also while it is held: the agent stops. */
  stop(error: MeshError): void {
    this.#end({ status: error.code === "deadline_exceeded" ? "expired" : "failed", error });
  }

  /** @param superseded the caller already asked elsewhere: end without telling or recording. */
  cancel(superseded = false): void {
    const end = () =>
      this.#end({ status: "cancelled", error: new MeshError("cancelled", "cancelled by the caller"), superseded });
    if (!superseded) {
      if (this.#state === "ended") return;
      this.#abandonRun();
      return this.#say(true, end);
    }
    this.#answer.close();
    end();
  }

  #abandonRun(): void {
    this.#stopRun?.();
    this.#stopRun = undefined;
  }

  #end({ status, error, done, superseded = false }: Ending): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    clearTimeout(this.#deadlineTimer);
    if (status !== "finished") this.#abandonRun();
    const { handBack } = this.facts;
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
    // The output is content, as a message is: it goes to the caller and into no record.
    const output = done?.output ?? null;
    const alone = { security_level: dataClass, diagnostic, attempts: attempt, output, energy_wh: energyWh };
    const result = { ...shared, ...alone, commitment_salt: this.#commitments.handedOver };
    // Its router asks the next node; whether it is still there shows when it says so.
    const quiet = handedBack && handBack === "router";
    const told = quiet ? JobResult.parse(result) : this.#answer.end({ ...result, handed_back: handedBack });
    const tellAnyway = quiet ? () => void this.#answer.end(result) : undefined;
    const commitments = this.#commitments.done(told.output);
    const event = endedEvent(this.facts, { ...shared, energyWh, cost: done?.cost, commitments }, told);
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
