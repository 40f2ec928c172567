import { randomBytes } from "node:crypto";
import { isSingleExecutable } from "../entries.ts";
import { startChild, type ChildExit } from "./child.ts";
import { ensureModel, type ModelFile } from "./ensure-model.ts";
import { EmbeddedError, type OnProgress } from "./errors.ts";
import type { LlamaAccelerator } from "./llama-binaries.ts";
import { ensureLlamaPackage, type LlamaPackage } from "./llama-package.ts";

export { EmbeddedError, type EmbeddedErrorCode, type EmbeddedProgress } from "./errors.ts";

export interface EmbeddedOptions {
  /** Folder for what is fetched: `node-llama-cpp/` and `models/` below it. May be shared by all agents of a machine. */
  cacheDir: string;
  env: NodeJS.ProcessEnv;
  /** Default: the platform's CPU binary (Metal on Apple silicon). */
  accelerator?: LlamaAccelerator;
  onProgress?: OnProgress;
  signal?: AbortSignal;
}

export interface EmbeddedStartOptions extends EmbeddedOptions {
  threads?: number;
  /** Answers written at once; default 2. */
  parallelSlots?: number;
  /** Context of each of them, tokens; default 4096, at most what the model was trained for. */
  contextLength?: number;
}

/** A model served by a child process of ours on loopback, with OpenAI's API below `/v1`. */
export interface EmbeddedRuntime {
  /** `http://127.0.0.1:<port>` */
  baseUrl: string;
  /** Bearer token, new at each start. */
  token: string;
  model: string;
  /** Tokens of one conversation, prompt and answer. */
  contextLength: number;
  parallelSlots: number;
  /** `sha256:…` of the model's file, where it is the pinned one. */
  digest?: string | undefined;
  pid: number;
  /** When it ended, by itself or by `stop`. Starting it again is the caller's business. */
  exited: Promise<ChildExit>;
  stop(): Promise<ChildExit>;
}

/**
 * Fetches what the embedded runtime needs, side by side; costs nothing when all is there.
 * @throws EmbeddedError, whose message says what to do next, or the signal's reason
 */
export async function ensureEmbedded(options: EmbeddedOptions): Promise<{ llama: LlamaPackage; model: ModelFile }> {
  const { signal, ...rest } = options;
  // node-llama-cpp chooses its binary by starting Node with a script of its own, and there is no Node here.
  if (isSingleExecutable)
    throw new EmbeddedError(
      "unsupported_platform",
      "the single executable has no runtime of its own: install Ollama or llama-server, it is found by itself",
    );
  // When one fails the other is stopped and awaited: nothing goes on behind the caller's back.
  const failed = new AbortController();
  const both = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal]);
  const orStop = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      failed.abort(error);
      throw error;
    }
  };
  const [model, llama] = await Promise.allSettled([
    orStop(ensureModel(rest, both)),
    orStop(ensureLlamaPackage(rest, both)),
  ]);
  signal?.throwIfAborted();
  if (failed.signal.aborted) throw failed.signal.reason;
  if (model.status === "rejected") throw model.reason;
  if (llama.status === "rejected") throw llama.reason;
  return { llama: llama.value, model: model.value };
}

/**
 * Fetches what is missing and starts the runtime.
 * @throws EmbeddedError, or the signal's reason; a failed start leaves no process behind
 */
export async function startEmbeddedRuntime(options: EmbeddedStartOptions): Promise<EmbeddedRuntime> {
  const { llama, model } = await ensureEmbedded(options);
  options.onProgress?.({ stage: "start", message: `loading ${model.id}` });
  const token = randomBytes(24).toString("base64url");
  const args = [
    "--model",
    model.path,
    "--name",
    model.id,
    "--llama-dir",
    llama.dir,
    "--accelerator",
    llama.accelerator,
  ];
  if (model.systemPrompt !== undefined) args.push("--system", model.systemPrompt);
  const numbers = { threads: options.threads, parallel: options.parallelSlots, context: options.contextLength };
  for (const [name, value] of Object.entries(numbers)) if (value !== undefined) args.push(`--${name}`, String(value));
  const child = await startChild({ args, env: options.env, token }, options.signal);
  options.onProgress?.({ stage: "start", message: `${model.id} is served by process ${String(child.pid)}` });
  return {
    baseUrl: `http://127.0.0.1:${String(child.ready.port)}`,
    token,
    model: child.ready.model,
    contextLength: child.ready.context_length,
    parallelSlots: child.ready.parallel_slots,
    digest: model.sha256 === undefined ? undefined : `sha256:${model.sha256}`,
    pid: child.pid,
    exited: child.exited,
    stop: () => child.stop(),
  };
}
