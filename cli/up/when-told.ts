import { isAlive } from "../../service/process-info.ts";

/** Signals this soon after the first are the same Ctrl-C: npm, our launcher and the terminal each pass it on, milliseconds. */
const SAME_CTRL_C_MS = 1500;
const PARENT_CHECK_EVERY_MS = 1000;

/**
 * Resolves when a person or our launcher wants the mesh to stop, and aborts `stopping`. A second Ctrl-C later on exits at
 * once; the processes then stop by themselves. The launcher (scripts/pinned-node.mjs) names the process whose death means
 * stop in `TIERMESH_PARENT_PID`, for it cannot tell us itself when it is killed. Without a launcher a person's shell started
 * us; it may end and leave us running on purpose.
 */
export function whenTold(stopping: AbortController, env: NodeJS.ProcessEnv): Promise<void> {
  return new Promise((resolve) => {
    let toldAtMs: number | undefined;
    const stop = () => {
      if (toldAtMs === undefined) {
        toldAtMs = performance.now();
        clearInterval(watch);
        stopping.abort();
        resolve();
      } else if (performance.now() - toldAtMs > SAME_CTRL_C_MS) process.exit(130);
    };
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, stop);
    const launcher = Number(env["TIERMESH_PARENT_PID"]);
    const parent = process.ppid;
    const watch = setInterval(() => {
      if (launcher > 0 && (process.ppid !== parent || !isAlive(launcher))) stop();
    }, PARENT_CHECK_EVERY_MS);
    watch.unref();
  });
}
