import {
  JobRequest,
  JobResult,
  MeshError,
  parseOrThrow,
  type AuditReceipt,
  type Decision,
  type JobRequestInput,
  type JobResultInput,
  type StreamFrame,
} from "../../bus-schemas/index.ts";
import { MeshClient, type CallOptions, type SeenNode } from "../../client/index.ts";

export type Script = (job: JobRequestInput, signal: AbortSignal) => AsyncGenerator<StreamFrame, void, undefined>;

/** Id of every job of a fake mesh. */
export const FAKE_JOB = "01TESTJOB0";

/** First frame of an answer. */
export const ACCEPTED: StreamFrame = {
  type: "accepted",
  job_id: FAKE_JOB,
  node_id: "n1",
  layer: "L0",
  model: "tiny:1b",
  security_level: "P2",
  diagnostic: false,
  decision_id: "01DECISION",
  cold_start_ms: null,
};

/** Last frame of an answer; without arguments a finished one of 3 prompt and 2 completion tokens. */
export function ending(result: Partial<JobResultInput> = {}): JobResult {
  return JobResult.parse({
    job_id: FAKE_JOB,
    status: "finished",
    node_id: "n1",
    layer: "L0",
    model: "tiny:1b",
    security_level: "P2",
    decision_id: "01DECISION",
    cold_start_ms: null,
    finish_reason: "stop",
    usage: { prompt_tokens: 3, completion_tokens: 2 },
    ...result,
  });
}

/** The ending of a job that a router refused. */
export function refusal(error: MeshError): JobResult {
  return JobResult.parse({ job_id: FAKE_JOB, status: "refused", security_level: "P2", error: error.toWire() });
}

/** A mesh that says these frames to every job. */
export function saying(...frames: StreamFrame[]): Script {
  return async function* () {
    yield* frames;
  };
}

/**
 * Stands in for a MeshClient: checks the job as that does, then plays a script. `submit` is MeshClient's own, over the
 * scripted stream.
 */
export class FakeMesh {
  script: Script;
  decision: Decision | MeshError = new MeshError("no_router", "no router");
  proof: AuditReceipt | MeshError = new MeshError("not_found", "no ending of it is in the log");
  readonly seen: { job: JobRequestInput; options: CallOptions }[] = [];
  fleet: SeenNode[] = [];
  readonly nodes = { list: () => this.fleet };
  readonly #left = Promise.withResolvers<void>();

  constructor(script: Script) {
    this.script = script;
  }

  /** Resolves when a caller left a stream before its end, which cancels the job. */
  get left(): Promise<void> {
    return this.#left.promise;
  }

  async *stream(job: JobRequestInput, options: CallOptions = {}): AsyncGenerator<StreamFrame, void, undefined> {
    this.seen.push({ job, options });
    try {
      parseOrThrow(JobRequest, job);
    } catch (error) {
      yield refusal(MeshError.from(error));
      return;
    }
    let ended = false;
    const signal = options.signal ?? new AbortController().signal;
    const aborted = new Promise<"aborted">((resolve) =>
      signal.addEventListener("abort", () => resolve("aborted"), { once: true }),
    );
    const frames = this.script(job, signal);
    try {
      for (;;) {
        const next = await Promise.race([frames.next(), aborted]);
        if (next === "aborted") {
          yield ending({ status: "cancelled", error: new MeshError("cancelled", "cancelled by the caller").toWire() });
          return;
        }
        if (next.done === true) return;
        ended = next.value.type === "end";
        yield next.value;
      }
    } finally {
      if (!ended) this.#left.resolve();
    }
  }

  submit(job: JobRequestInput, options: CallOptions = {}): Promise<JobResult> {
    return MeshClient.prototype.submit.call(this as never, job, options);
  }

  receipt(_jobId: string): Promise<AuditReceipt> {
    return this.proof instanceof MeshError ? Promise.reject(this.proof) : Promise.resolve(this.proof);
  }

  decide(job: JobRequestInput, options: CallOptions = {}): Promise<Decision> {
    this.seen.push({ job, options });
    return this.decision instanceof MeshError ? Promise.reject(this.decision) : Promise.resolve(this.decision);
  }
}
