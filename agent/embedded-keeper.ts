import { availableParallelism } from "node:os";
import type { Log } from "../service/log.ts";
import { pause } from "../service/loop.ts";
import { EmbeddedError, startEmbeddedRuntime } from "./embedded/index.ts";
import { BackOff } from "./supervision/back-off.ts";
import type { EmbeddedEndpoint } from "./work/protocol.ts";

/** Milliseconds. */
const RESTART_MS = { first: 500, limit: 60_000, goodRun: 60_000 };

/** More threads than this do not make a small model faster: memory does. */
const MAX_THREADS = 8;

/** One core stays free for the person and for the agent; measured on 2 busy cores: one thread 1.6 times as fast as two. */
function threads(): number {
  return Math.max(1, Math.min(MAX_THREADS, availableParallelism() - 1));
}

export interface EmbeddedKeeperOptions {
  cacheDir: string;
  env: NodeJS.ProcessEnv;
  log: Log;
  /** Where it listens; undefined when it is gone. */
  onEndpoint: (endpoint: EmbeddedEndpoint | undefined) => void;
  /** No model can be had at present. */
  onUnavailable: () => void;
  /** It is up; `end` ends it, and then it is started again. Undefined when it is gone. */
  onUp?: (end: (() => void) | undefined) => void;
  /** It is up again after it had ended; `attempt` counts from 1 since it last ran well. */
  onRestarted?: (attempt: number) => void;
  /** How it is started; another one only in tests. */
  start?: typeof startEmbeddedRuntime;
}

/** Keeps the embedded runtime alive until `signal` aborts: a native crash costs its jobs, not the agent. */
export async function keepEmbedded(options: EmbeddedKeeperOptions, signal: AbortSignal): Promise<void> {
  const { cacheDir, env, log, onEndpoint, onRestarted, onUnavailable, onUp, start = startEmbeddedRuntime } = options;
  const backOff = new BackOff(RESTART_MS);
  let wasUp = false;
  while (!signal.aborted) {
    const startedAtMs = performance.now();
    try {
      const onProgress = ({ message }: { message: string }) => log.info({ progress: true }, message);
      const runtime = await start({ cacheDir, env, onProgress, threads: threads(), signal });
      const { baseUrl, token, model, contextLength, parallelSlots, digest } = runtime;
      const stop = () => void runtime.stop();
      signal.addEventListener("abort", stop, { once: true });
      // Told to stop while it came up: an abort that has been heard does not come again.
      if (signal.aborted) stop();
      else {
        onEndpoint({ baseUrl, token, model, contextLength, parallelSlots, digest });
        onUp?.(stop);
        if (wasUp) onRestarted?.(backOff.failures);
        wasUp = true;
      }
      const exit = await runtime.exited;
      signal.removeEventListener("abort", stop);
      if (!signal.aborted) log.warn({ exit }, "the embedded runtime ended; starting it again");
    } catch (error) {
      if (signal.aborted) return;
      log.warn({ err: error }, "no embedded runtime");
      onUnavailable();
      if (isFinal(error)) return;
    }
    onUp?.(undefined);
    onEndpoint(undefined);
    await pause(backOff.ended(performance.now() - startedAtMs), signal);
  }
}

/** Trying again changes nothing: it is switched off, or there is no binary for this machine. */
function isFinal(error: unknown): boolean {
  return error instanceof EmbeddedError && (error.code === "disabled" || error.code === "unsupported_platform");
}
