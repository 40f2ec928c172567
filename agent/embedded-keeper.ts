import type { Log } from "../service/log.ts";
import { pause } from "../service/loop.ts";
import { startEmbeddedRuntime } from "./embedded/index.ts";
import type { EmbeddedEndpoint } from "./work/protocol.ts";

/** Pause before a runtime that ended is started again, milliseconds; doubles up to the limit, starts over after a good run. */
const RESTART_MS = { first: 500, limit: 60_000, goodRun: 60_000 };

/**
 * Keeps the embedded runtime alive until `signal` aborts: a native crash costs its jobs, not the agent.
 * `onEndpoint` hears where it listens, and undefined when it is gone.
 */
export async function keepEmbedded(options: { cacheDir: string; env: NodeJS.ProcessEnv; log: Log; onEndpoint: (endpoint: EmbeddedEndpoint | undefined) => void }, signal: AbortSignal): Promise<void> {
  const { cacheDir, env, log, onEndpoint } = options;
  let waitMs = RESTART_MS.first;
  while (!signal.aborted) {
    const startedAtMs = performance.now();
    try {
      const runtime = await startEmbeddedRuntime({ cacheDir, env, onProgress: (line) => log.info(line), signal });
      const { baseUrl, token, model, contextLength, parallelSlots } = runtime;
      onEndpoint({ baseUrl, token, model, contextLength, parallelSlots });
      const stop = () => void runtime.stop();
      signal.addEventListener("abort", stop, { once: true });
      const exit = await runtime.exited;
      signal.removeEventListener("abort", stop);
      if (!signal.aborted) log.warn({ exit }, "the embedded runtime ended; starting it again");
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error }, "the embedded runtime could not be started");
    }
    onEndpoint(undefined);
    if (performance.now() - startedAtMs > RESTART_MS.goodRun) waitMs = RESTART_MS.first;
    await pause(waitMs, signal);
    waitMs = Math.min(waitMs * 2, RESTART_MS.limit);
  }
}
