import { Worker } from "node:worker_threads";
import type { Hardware } from "../../bus-schemas/node-record.ts";
import { pause } from "../../service/loop.ts";
import { unknownHardware, withoutMoving, type ProbeProblem } from "./hardware.ts";
import type { FromProbes, ProbesConfig, ToProbes } from "./protocol.ts";

export interface StartProbesOptions {
  /** Folder whose disk is watched; it need not exist yet. */
  stateDir: string;
  /** Entry of the thread; another one only in tests. */
  worker?: URL;
  /** A thread that says nothing for so long is replaced, milliseconds. It speaks every second. */
  silentAfterMs?: number;
  /** Pause before a thread that ended is started again, milliseconds: doubles from `first` up to `limit`. */
  restartMs?: { first: number; limit: number };
  random?: () => number;
  signal: AbortSignal;
}

/** The node's hardware, kept up to date by a thread of its own. */
export interface Probes {
  current(): Hardware;
  /** What does not work, the thread itself (`worker`) included. */
  problems(): ProbeProblem[];
  /** @returns a function that ends the subscription. */
  onChange(callback: () => void): () => void;
  /** Fulfils when every probe has been run once, or when the probes are stopped before that. Never rejects. */
  first: Promise<void>;
  /** Fulfils when the thread has ended. */
  stop(): Promise<void>;
}

/** The orderly end of the thread takes milliseconds; then it is ended by force. Milliseconds. */
const STOP_LIMIT_MS = 1500;

/** A thread that has run for so long was in order; the next pause is the shortest again. Milliseconds. */
const STEADY_MS = 60_000;

/** Starts the probes' thread and keeps it running: it is started again when it ends or falls silent. */
export function startProbes(options: StartProbesOptions): Probes {
  const {
    stateDir,
    worker = new URL("worker.ts", import.meta.url),
    silentAfterMs = 60_000,
    random = Math.random,
  } = options;
  const { first: firstRestartMs, limit: restartLimitMs } = options.restartMs ?? { first: 500, limit: 30_000 };
  const own = new AbortController();
  const stopped = AbortSignal.any([own.signal, options.signal]);
  const first = Promise.withResolvers<void>();
  const callbacks = new Set<() => void>();
  let hardware = unknownHardware(process);
  let problems: ProbeProblem[] = [];
  let threadProblem: ProbeProblem | undefined;
  let failures = 0;

  const changed = () => {
    for (const callback of callbacks) callback();
  };
  const onMessage = (message: FromProbes) => {
    hardware = message.hardware;
    problems = message.problems;
    threadProblem = undefined;
    if (message.complete) first.resolve();
    changed();
  };
  const onEnded = (why: string) => {
    failures++;
    // One crash is over within a second; after that nobody looks at the machine, and old numbers are no facts.
    if (failures > 1) hardware = withoutMoving(hardware);
    threadProblem = { probe: "worker", message: why, since: threadProblem?.since ?? new Date().toISOString() };
    changed();
  };

  const done = (async () => {
    while (!stopped.aborted) {
      const startedMs = performance.now();
      const why = await runThread(worker, { stateDir }, silentAfterMs, onMessage, stopped);
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
    problems: () => (threadProblem === undefined ? problems : [...problems, threadProblem]),
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

/** One life of the thread, to its end. @returns why it ended. Never throws. */
async function runThread(
  entry: URL,
  config: ProbesConfig,
  silentAfterMs: number,
  onMessage: (message: FromProbes) => void,
  signal: AbortSignal,
): Promise<string> {
  const thread = new Worker(entry, { workerData: config });
  const exited = new Promise<void>((resolve) => thread.once("exit", () => resolve()));
  let why = "the probes' thread ended";
  thread.once("error", () => (why = "the probes' thread crashed"));
  const watchdog = setTimeout(() => {
    why = `the probes' thread said nothing for ${silentAfterMs / 1000} s and was replaced`;
    void thread.terminate();
  }, silentAfterMs);
  thread.on("message", (message: FromProbes) => {
    watchdog.refresh();
    if (!signal.aborted) onMessage(message);
  });
  const ending = endOnAbort(thread, exited, signal);
  await exited;
  clearTimeout(watchdog);
  ending();
  return why;
}

/** Asks the thread to stop when `signal` aborts, and makes it stop when it does not. @returns the clean-up. */
function endOnAbort(thread: Worker, exited: Promise<void>, signal: AbortSignal): () => void {
  const over = new AbortController();
  const onAbort = () => {
    const stop: ToProbes = { type: "stop" };
    thread.postMessage(stop);
    void Promise.race([exited, pause(STOP_LIMIT_MS, over.signal)]).then(() => thread.terminate());
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  return () => {
    over.abort();
    signal.removeEventListener("abort", onAbort);
  };
}
