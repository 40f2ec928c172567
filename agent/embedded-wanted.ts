import type { Log } from "../service/log.ts";
import type { AgentConfig } from "./config.ts";
import { keepEmbedded } from "./embedded-keeper.ts";
import type { RuntimeDesk } from "./runtime-desk.ts";
import type { Supervision } from "./supervision/supervision.ts";
import type { WorkThread } from "./work/work-thread.ts";

export interface EmbeddedParts {
  config: Pick<AgentConfig, "cacheDir" | "embedded" | "loopback">;
  env: NodeJS.ProcessEnv;
  log: Log;
  desk: Pick<RuntimeDesk, "runtimes">;
  work: Pick<WorkThread, "setEmbedded" | "setLoopback">;
  supervision: Pick<Supervision, "embeddedUp" | "embeddedRestarted">;
}

/**
 * Keeps the embedded runtime alive where the configuration says so, or says `auto` and the machine has no other; where it cannot be
 * had the diagnostic echo takes its place.
 * @returns resolves when it has ended; undefined where it is not wanted
 */
export function keepIfWanted(parts: EmbeddedParts, signal: AbortSignal): Promise<void> | undefined {
  const { config, desk, env, log, supervision, work } = parts;
  const anyOther = desk.runtimes.some((runtime) => !runtime.diagnostic);
  if (config.embedded !== "on" && (config.embedded !== "auto" || anyOther)) return undefined;
  return keepEmbedded(
    {
      cacheDir: config.cacheDir,
      env,
      log,
      onEndpoint: (endpoint) => {
        work.setEmbedded(endpoint);
        if (endpoint !== undefined && !config.loopback) work.setLoopback(false);
      },
      onUnavailable: () => work.setLoopback(true),
      onUp: (end) => supervision.embeddedUp(end),
      onRestarted: (attempt) => supervision.embeddedRestarted(attempt),
    },
    signal,
  );
}
