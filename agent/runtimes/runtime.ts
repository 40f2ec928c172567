import type {
  ChatMessage,
  Cost,
  DeltaFrame,
  ModelAction,
  ModelProgress,
  RuntimeRecord,
  ServedModel,
  TaskInput,
  TaskOutput,
  Usage,
} from "../../bus-schemas/index.ts";

/** The class of a job in each place that may declare it, word for word: undefined = that place says nothing. */
export interface DeclaredClasses {
  /** The subject that it came on, which the broker's permissions guard. */
  subject: string;
  header: string | undefined;
  body: string | undefined;
  /** Of a sealed job. */
  ticket?: string;
}

/** What a runtime is asked to do. `parameters` are OpenAI-named and go through unchanged. */
export interface RuntimeJob {
  jobId: string;
  /** Model as this runtime spells it. */
  model: string;
  messages: readonly ChatMessage[];
  parameters: Readonly<Record<string, unknown>>;
  /** The last message is the beginning of the answer, which another node wrote; only what comes after it is wanted. */
  continues: boolean;
  /** Of a task other than chat; then there are no messages. */
  input?: TaskInput;
  /** For what is sent out of the house (egress/gate.ts); a runtime of this machine has no use for it. */
  declared: DeclaredClasses;
  /** Also for that: by it the bytes that go out are committed to; base64url. */
  commitmentSalt: string;
}

/** How an answer ended; `cost` where a price is known. */
export interface RuntimeDone {
  type: "done";
  finishReason: string | null;
  usage: Usage | null;
  cost?: Cost | undefined;
  /** Of a task that writes no text. */
  output?: TaskOutput | undefined;
}

/** The request that leaves the house now, as it is committed to. */
export interface RuntimeSent {
  type: "sent";
  commitment: string;
}

/** A piece of an answer, then exactly one `done`; before them what was sent out of the house, if anything is. */
export type RuntimeChunk = RuntimeSent | DeltaFrame | RuntimeDone;

/** Something to be done with one model of a runtime. */
export interface ModelOrder {
  action: ModelAction;
  /** As the runtime spells it. */
  model: string;
}

/** A runtime as it was found just now. */
export interface RuntimeState {
  record: RuntimeRecord;
  models: ServedModel[];
  /** Of a cloud provider: requests that have left for it since this thread began, counted behind the egress gate. */
  requestsSent?: number;
  /** Where it listens on this machine; undefined for what has no port of its own. */
  port?: number;
}

/**
 * One runtime: a server on this machine, or a cloud provider of an egress node.
 * `inspect` costs no generation and never throws for "not there": that is undefined.
 * `run` throws MeshError `runtime_failed` when the runtime fails, and ends early without error when `signal` aborts.
 */
export interface Runtime {
  /** Unique on the node, a subject token: `ollama`, `vllm-8000`, `embedded`. */
  readonly name: string;
  readonly kind: string;
  inspect(signal: AbortSignal): Promise<RuntimeState | undefined>;
  run(job: RuntimeJob, signal: AbortSignal): AsyncIterable<RuntimeChunk>;
  /** Whether it answers a question that costs it nothing, before `signal` aborts. Absent: it cannot be asked beside its work. */
  alive?(signal: AbortSignal): Promise<boolean>;
  /** It was found hung: it is unhealthy until an inspection finds it well, whatever it answered a moment ago. */
  hung?(): void;
  /**
   * Carries an order out, telling how far it is; it is done when the iteration ends. Ends early when `signal` aborts.
   * @throws MeshError `not_supported` (with what to do instead), `model_not_found`, `runtime_failed`
   */
  manage?(order: ModelOrder, signal: AbortSignal): AsyncIterable<ModelProgress>;
}
