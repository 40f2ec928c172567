import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** A process of a bench, forked from a file that calls `serveParent`. */
export interface Child extends AsyncDisposable {
  /** What it said when it was ready. */
  facts: Readonly<Record<string, unknown>>;
  /** CPU time it has used so far, all its threads, microseconds. */
  cpuUs(): Promise<number>;
}

interface FromChild {
  ready?: Record<string, unknown>;
  cpuUs?: number;
}

/** @throws Error when the process ends before it is ready. */
export async function startChild(file: URL, env: Readonly<Record<string, string>> = {}): Promise<Child> {
  const child = fork(fileURLToPath(file), { env: { ...process.env, ...env } });
  let next = Promise.withResolvers<FromChild>();
  const said = () => next.promise;
  child.on("message", (message) => {
    next.resolve(message as FromChild);
    next = Promise.withResolvers();
  });
  child.on("exit", (code) => next.reject(new Error(`${file.pathname} ended with ${code}`)));
  const { ready = {} } = await said();
  return {
    facts: ready,
    cpuUs: async () => {
      const answer = said();
      child.send("cpu");
      return (await answer).cpuUs ?? Number.NaN;
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      // Nobody waits for a word of it any more.
      next.promise.catch(() => undefined);
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    },
  };
}

/** In the child: says that it is ready, tells its CPU time when asked, ends with its parent. */
export function serveParent(facts: Record<string, unknown> = {}): void {
  const send = (message: FromChild) => void process.send?.(message);
  process.on("message", () => {
    const { user, system } = process.cpuUsage();
    send({ cpuUs: user + system });
  });
  process.on("disconnect", () => process.exit());
  send({ ready: facts });
}
