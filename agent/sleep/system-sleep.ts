import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { pause } from "../../service/loop.ts";
import { endGroup, withoutSecrets } from "../probes/launch.ts";

/**
 * systemd-logind holds a sleep up for us (by default 5 s at most) while the first of these runs, and the second prints logind's word
 * that it is about to sleep. One ends with the other. An agent that was killed leaves them behind until logind's next word: writing it
 * to nobody ends the second, so no sleep is held up.
 */
const HOLD = "systemd-inhibit --what=sleep --mode=delay --who=Tiermesh";
const FOLLOW = "gdbus monitor --system --dest org.freedesktop.login1 --object-path /org/freedesktop/login1";
const WATCH = [...HOLD.split(" "), "--why=Tells the mesh before the machine sleeps", ...FOLLOW.split(" ")];
const ABOUT_TO_SLEEP = /\.PrepareForSleep \(true,?\)/;
/** Pause before the watch is started again, milliseconds: after a sleep at once, one that ended by itself less and less often. */
const AGAIN_MS = { afterSleep: 2000, first: 5000, limit: 600_000 };

export interface SystemSleepOptions {
  /** The machine is about to sleep; it does when this fulfils. */
  onSleep: () => Promise<void>;
  env: NodeJS.ProcessEnv;
  /** Starts the watch; another one only in tests. */
  launch?: (command: readonly string[], env: NodeJS.ProcessEnv) => ChildProcess;
  againMs?: typeof AGAIN_MS;
}

/**
 * Whether this system tells before it sleeps, and can sleep at all: Linux with systemd. macOS and Windows tell only programs of their
 * own frameworks; there a sleep is noticed after it.
 */
export function tellsBeforeSleep(): boolean {
  if (process.platform !== "linux" || !existsSync("/run/systemd/system")) return false;
  try {
    return /\bmem\b/.test(readFileSync("/sys/power/state", "utf8"));
  } catch {
    return false;
  }
}

/** Calls back before each sleep until `signal` aborts. Without the tools it ends at once, for nothing is lost but the goodbye. Never throws. */
export async function followSystemSleep(options: SystemSleepOptions, signal: AbortSignal): Promise<void> {
  const { onSleep, env, launch = start, againMs = AGAIN_MS } = options;
  let waitMs = againMs.first;
  while (!signal.aborted) {
    const how = await watchOnce(launch(WATCH, withoutSecrets(env)), onSleep, signal);
    if (how === "missing") return;
    waitMs = how === "slept" ? againMs.first : Math.min(waitMs * 2, againMs.limit);
    await pause(how === "slept" ? againMs.afterSleep : waitMs, signal);
  }
}

function start([program = "", ...args]: readonly string[], env: NodeJS.ProcessEnv): ChildProcess {
  return spawn(program, args, { stdio: ["ignore", "pipe", "ignore"], detached: true, env });
}

/** One life of the watch. */
async function watchOnce(
  child: ChildProcess,
  onSleep: () => Promise<void>,
  signal: AbortSignal,
): Promise<"slept" | "ended" | "missing"> {
  const ended = Promise.withResolvers<"ended" | "missing">();
  const slept = Promise.withResolvers<"slept">();
  child.once("error", () => ended.resolve("missing"));
  child.once("exit", () => ended.resolve("ended"));
  const onAbort = () => endGroup(child);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  let going = false;
  if (child.stdout !== null)
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (going || !ABOUT_TO_SLEEP.test(line)) return;
      going = true;
      // With its end the sleep is held up no longer.
      void onSleep().then(() => {
        endGroup(child);
        slept.resolve("slept");
      });
    });
  const how = await Promise.race([ended.promise, slept.promise]);
  signal.removeEventListener("abort", onAbort);
  return how;
}
