import type { ChildProcess } from "node:child_process";
import type { Hardware } from "../../bus-schemas/node-record.ts";
import { pause } from "../../service/loop.ts";
import { within } from "../../service/within.ts";
import type { GpuFault } from "./gpu-fault.ts";
import { unknownHardware, withoutMoving } from "./hardware.ts";
import { endGroup, launchProbes } from "./launch.ts";
import { FromProbes, type ProbeProblem, type ToProbes } from "./protocol.ts";

export interface StartProbesOptions {
  /** Folder whose disk is watched; it need not exist yet. */
  stateDir: string;
  /** Where compiled code is kept. */
  cacheDir: string;
  /** Starts the process; another one only in tests. */
  launch?: () => ChildProcess;
  /** A process that says nothing for so long is replaced, milliseconds. It speaks every few seconds. */
  silentAfterMs?: number;
  /** Pause before a process that ended is started again, milliseconds: doubles from `first` up to `limit`. */
  restartMs?: { first: number; limit: number };
  random?: () => number;
  signal: AbortSignal;
}

/** The node's hardware, kept up to date by a process of its own. */
export interface Probes {
  current(): Hardware;
  /** What does not work, the process itself (`worker`) included. */
  problems(): ProbeProblem[];
  /** Errors that GPUs' drivers told, each again and again. */
  faults(): GpuFault[];
  /** Every probe of the process that runs now has looked: what is not in the picture is not there. */
  complete(): boolean;
  /** @returns a function that ends the subscription. */
  onChange(callback: () => void): () => void;
  /** Fulfils when every probe has been run once, or when the probes are stopped before that. Never rejects. */
  first: Promise<void>;
  /** Fulfils when the process has ended, or has been killed and hangs in the kernel all the same. */
  stop(): Promise<void>;
}

/** The orderly end of the process takes milliseconds; then it is ended by force. Milliseconds. */
const STOP_LIMIT_MS = 1500;
/** A killed process is gone within milliseconds, unless a driver holds it in the kernel. Milliseconds. */
const KILL_GRACE_MS = 1000;
/** A process that has run for so long was in order; the next pause is the shortest again. Milliseconds. */
const STEADY_MS = 60_000;
/** The silence is counted in so many parts: an agent that was itself stopped for a while sees one of them pass, not all. */
const SILENCE_PARTS = 4;

/** Starts the probes' process and keeps it running: it is started again when it ends or falls silent. */
export function startProbes(options: StartProbesOptions): Probes {
  const { stateDir, cacheDir, silentAfterMs = 30_000, random = Math.random } = options;
  const { launch = () => launchProbes({ config: { stateDir }, cacheDir, env: process.env }) } = options;
  const { first: firstRestartMs, limit: restartLimitMs } = options.restartMs ?? { first: 500, limit: 30_000 };
  const own = new AbortController();
  const stopped = AbortSignal.any([own.signal, options.signal]);
  const first = Promise.withResolvers<void>();
  const callbacks = new Set<() => void>();
  let hardware = unknownHardware(process);
  let problems: ProbeProblem[] = [];
  let faults: GpuFault[] = [];
  let complete = false;
  let processProblem: ProbeProblem | undefined;
  let failures = 0;

  const changed = () => {
    for (const callback of callbacks) callback();
  };
  const onMessage = (message: FromProbes) => {
    hardware = message.hardware;
    problems = message.problems;
    faults = message.faults;
    complete = message.complete;
    processProblem = undefined;
    if (message.complete) first.resolve();
    changed();
  };
  const onProblem = (message: string) => {
    processProblem = { probe: "worker", message, since: processProblem?.since ?? new Date().toISOString() };
    changed();
  };
  const onEnded = (why: string) => {
    failures++;
    complete = false;
    // One crash is over within a second; after that nobody looks at the machine, and old numbers are no facts.
    if (failures > 1) hardware = withoutMoving(hardware);
    onProblem(why);
  };

  const done = (async () => {
    while (!stopped.aborted) {
      const startedMs = performance.now();
      const why = await runProcess({ launch, silentAfterMs, onMessage, onProblem }, stopped);
      if (stopped.aborted) break;
      if (performance.now() - startedMs > STEADY_MS) failures = 0;
      onEnded(why);
      const pauseMs = Math.min(firstRestartMs * 2 ** (failures - 1), restartLimitMs);
      await pause(pauseMs * (0.5 + random() / 2), stopped);
    }
    first.resolve();
  })();

  return {
    current: () => hardware,
    problems: () => (processProblem === undefined ? problems : [...problems, processProblem]),
    faults: () => faults,
    complete: () => complete,
    onChange: (callback) => {
      callbacks.add(callback);
      return () => callbacks.delete(callback);
    },
    first: first.promise,
    stop: () => {
      own.abort();
      return done;
    },
  };
}

interface Life {
  launch: () => ChildProcess;
  silentAfterMs: number;
  onMessage: (message: FromProbes) => void;
  /** Something is wrong with the process, which has not ended for all that. */
  onProblem: (message: string) => void;
}

/** One life of the process, to its end. @returns why it ended. Never throws. */
async function runProcess(life: Life, signal: AbortSignal): Promise<string> {
  const { launch, silentAfterMs, onMessage, onProblem } = life;
  const child = launch();
  let why: string | undefined;
  const exited = new Promise<void>((resolve) => {
    child.once("exit", (code, by) => {
      why ??= code === 0 ? "the probes' process ended" : `the probes' process crashed (${by ?? `exit code ${code}`})`;
      resolve();
    });
    // Without a pid it never came to be, and no exit follows.
    child.on("error", () => {
      if (child.pid !== undefined) return;
      why = "the probes' process cannot be started";
      resolve();
    });
  });
  let silentParts = 0;
  const watchdog = setInterval(() => {
    if (++silentParts !== SILENCE_PARTS) return;
    why = `the probes' process said nothing for ${silentAfterMs / 1000} s and was replaced`;
    endGroup(child);
    void within(exited, KILL_GRACE_MS).then((gone) => {
      if (!gone)
        onProblem("the probes' process hangs in a driver and cannot be killed; no other is started until it ends");
    });
  }, silentAfterMs / SILENCE_PARTS);
  child.on("message", (raw) => {
    const message = FromProbes.safeParse(raw);
    if (!message.success || why !== undefined) return;
    silentParts = 0;
    if (!signal.aborted) onMessage(message.data);
  });
  const ended = endOnAbort(child, exited, signal);
  await Promise.race([exited, ended.byForce]);
  clearInterval(watchdog);
  ended.cleanUp();
  return why ?? "the probes' process was stopped";
}

/**
 * Asks the process to stop when `signal` aborts, and makes it stop when it does not. `byForce` fulfils when that was tried as well:
 * the agent's end waits for nothing that hangs in the kernel.
 */
function endOnAbort(child: ChildProcess, exited: Promise<void>, signal: AbortSignal) {
  const byForce = Promise.withResolvers<void>();
  const onAbort = () => {
    const stop: ToProbes = { type: "stop" };
    if (child.connected) child.send(stop, () => {});
    void within(exited, STOP_LIMIT_MS).then(async (gone) => {
      if (gone) return;
      endGroup(child);
      await within(exited, KILL_GRACE_MS);
      child.unref();
      if (child.connected) child.disconnect();
      byForce.resolve();
    });
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  return { byForce: byForce.promise, cleanUp: () => signal.removeEventListener("abort", onAbort) };
}
