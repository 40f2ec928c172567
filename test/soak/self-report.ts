/**
 * Loaded into every Node process of a soak before its own code (`--import`): every few seconds it collects garbage and adds a line about
 * itself to a file in SOAK_DIR.
 */
import { appendFileSync } from "node:fs";
import path from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { isMainThread, threadId } from "node:worker_threads";

export interface SelfReport {
  /** Hours since 1970. */
  hours: number;
  /** What runs, such as `router/main` or `agent/work/worker`. */
  part: string;
  heapMb: number;
  rssMb: number;
  /** What keeps the loop alive: sockets, timers, pipes. */
  handles: number;
  /** How late the loop was at most in 99 of 100 cases since the last line, milliseconds. */
  lagMs: number;
}

const EVERY_MS = 5000;
const RESOLUTION_MS = 20;

const folder = process.env["SOAK_DIR"];
if (folder !== undefined) {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const lag = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  lag.enable();
  const script = process.argv[1] ?? "";
  const part = `${path.basename(path.dirname(script))}/${path.basename(script, ".ts")}${isMainThread ? "" : " (thread)"}`;
  const file = path.join(folder, `${process.pid}-${threadId}.jsonl`);
  setInterval(() => {
    const lagMs = Math.max(0, lag.percentile(99) / 1e6 - RESOLUTION_MS);
    collect();
    lag.reset();
    const { heapUsed, rss } = process.memoryUsage();
    const handles = process.getActiveResourcesInfo().length;
    const line: SelfReport = {
      hours: Date.now() / 3_600_000,
      part,
      heapMb: heapUsed / 2 ** 20,
      rssMb: rss / 2 ** 20,
      handles,
      lagMs,
    };
    appendFileSync(file, `${JSON.stringify(line)}\n`);
  }, EVERY_MS).unref();
}
