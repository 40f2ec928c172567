import type { ModelAction, ModelProgress, Task } from "../../bus-schemas/index.ts";
import type { LoopbackTarget } from "./loopback-http.ts";
import type { Probe } from "./probe.ts";

/** A model as a runtime describes it; null where it does not say. */
export interface FoundModel {
  name: string;
  /** In memory now. */
  loaded: boolean | null;
  contextLengthTokens: number | null;
  /** The mesh's words (see capabilities.ts). */
  capabilities: string[];
  sizeBytes: number | null;
  /** GPU memory that it holds now. */
  vramBytes?: number | null;
  /** `sha256:…` of what it is made of, where that is known. */
  digest?: string | undefined;
}

/** A runtime as a kind found it. */
export interface FoundRuntime {
  version: string | null;
  healthy: boolean;
  /** Answers at once, as far as the runtime says; else the kind's documented assumption. */
  slots: number;
  /** Jobs that it works on, ours and anybody's; left out where it does not say, as the next. */
  running?: number | undefined;
  /** Jobs that wait in it for a slot. */
  queued?: number | undefined;
  /** Where it does not manage all that its kind can. */
  manages?: readonly ModelAction[];
  models: FoundModel[];
}

/** Asks a server of the kind to do something with a model; see Runtime.manage. */
export type ManageModel = (at: LoopbackTarget, model: string, signal: AbortSignal) => AsyncIterable<ModelProgress>;

/**
 * One kind of runtime: how to know it, and how to ask it what it serves. One file each, one line in index.ts's KINDS.
 * `find` returns undefined for a clear no, and throws ProbeFailed when it cannot tell: then no less specific kind is tried,
 * because a guess could take a model that runs elsewhere for a local one.
 */
export interface RuntimeKind {
  readonly kind: string;
  /** Where it listens unless told otherwise. All kinds are tried on all of these: 8000 and 8080 clash. */
  readonly defaultPorts: readonly number[];
  /** Named by its kind alone when found on a default port; otherwise `kind-port`. */
  readonly onePerMachine: boolean;
  /** Only where an operator named the endpoint. */
  readonly onlyNamed?: boolean;
  /** What is cheapest to ask it; undefined where a busy server of the kind may well not answer beside its work. */
  readonly alivePath?: string;
  /**
   * Parameters with which a last message of the assistant's is gone on with; undefined where that is not documented, and then
   * an answer that another node began never goes there.
   */
  readonly continuation?: Readonly<Record<string, unknown>>;
  /** What it lets others do with its models. */
  readonly manage?: Readonly<Partial<Record<ModelAction, ManageModel>>>;
  /** What a person does about the rest, as a clause: `start it with another --model`. */
  readonly manageByHand?: string;
  /** What it serves beside chat, on OpenAI's and Jina's paths; left out = nothing. Its models are offered for no other task. */
  readonly tasks?: readonly Exclude<Task, "chat">[];
  find(probe: Probe, signal: AbortSignal): Promise<FoundRuntime | undefined>;
}
