import { spawn, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import { entryArgs, isSingleExecutable } from "../entries.ts";
import { THRIFTY_ENV, THRIFTY_FLAGS } from "../thrift.ts";
import type { ProbesConfig } from "./protocol.ts";

/** A small heap: the process keeps one record of a few kilobytes. Megabytes. */
const HEAP_FLAGS = ["--max-old-space-size=48", ...THRIFTY_FLAGS];

/** Passwords of the bus and keys of providers stay out of a process that runs other people's tools and libraries. */
const SECRET = /^TIERMESH_|KEY|TOKEN|SECRET|PASSW|CREDENTIAL/i;

export interface LaunchOptions {
  config: ProbesConfig;
  /** Compiled code is kept here: without it each start strips the types anew, which costs 20 MB for as long as it runs. */
  cacheDir?: string | undefined;
  env: NodeJS.ProcessEnv;
}

/**
 * Starts the probes' process: the only place that knows how. It leads a
 * process group of its own (on Windows there are none), which `endGroup` ends with everything that it started.
 */
export function launchProbes({ config, cacheDir, env }: LaunchOptions): ChildProcess {
  const kept = withoutSecrets(env);
  // A single executable has its flags inside and takes no others, so that nobody can give it any.
  const flags = isSingleExecutable ? [] : HEAP_FLAGS;
  return spawn(process.execPath, [...flags, ...entryArgs("probes"), JSON.stringify(config)], {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    detached: process.platform !== "win32",
    windowsHide: true,
    env: {
      ...THRIFTY_ENV,
      ...(cacheDir === undefined ? {} : { NODE_COMPILE_CACHE: join(cacheDir, "compiled") }),
      ...kept,
    },
  });
}

/** The environment for a program that is not ours. */
export function withoutSecrets(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !SECRET.test(name)));
}

/** Ends a process that leads a group and what it started, by force. Safe to call for one that is gone, as long as its exit was not told yet. */
export function endGroup(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    if (process.platform === "win32") child.kill("SIGKILL");
    else process.kill(-child.pid, "SIGKILL");
  } catch {
    // It does not lead a group, or ended a moment ago.
    child.kill("SIGKILL");
  }
}
