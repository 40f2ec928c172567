export interface LoopOptions {
  name: string;
  /** Time from the end of one run to the start of the next, milliseconds. */
  everyMs: number;
  /** Share of `everyMs` by which each pause varies, so that many processes do not beat together. */
  jitter?: number;
  /** Called when a run throws; the loop goes on. */
  onError: (error: unknown) => void;
  random?: () => number;
}

export interface Loop {
  /** Resolves when the run in progress has ended and no other will start. */
  stop(): Promise<void>;
}

/**
 * The one loop helper: runs `body` again and again, never twice at once, survives a throw, stops only when told
 * (`stop()` or `signal`). The first run starts at once.
 */
export function startLoop(
  options: LoopOptions,
  body: (signal: AbortSignal) => void | Promise<void>,
  signal?: AbortSignal,
): Loop {
  const { everyMs, jitter = 0.1, onError, random = Math.random } = options;
  const own = new AbortController();
  const stopped = signal === undefined ? own.signal : AbortSignal.any([own.signal, signal]);
  const done = (async () => {
    while (!stopped.aborted) {
      try {
        await body(stopped);
      } catch (error) {
        if (!stopped.aborted) onError(error);
      }
      await pause(everyMs * (1 + jitter * (2 * random() - 1)), stopped);
    }
  })();
  return {
    stop: async () => {
      own.abort();
      await done;
    },
  };
}

/** Waits `ms` milliseconds, or less when `signal` aborts; never throws. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const timer = setTimeout(finish, ms);
    function finish() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", finish);
      resolve();
    }
    signal?.addEventListener("abort", finish, { once: true });
  });
}
