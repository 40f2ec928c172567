import { afterEach, expect, test } from "vitest";
import { createLog } from "../../service/log.ts";
import type { RuntimeChunk } from "../runtimes/runtime.ts";
import { runtimeJob } from "../../test/kit/runtime-job.ts";
import { WorkThread } from "./work-thread.ts";

const ENTRY = new URL("../../test/kit/fake-worker.ts", import.meta.url);
const open: WorkThread[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((thread) => thread.close()));
});

/** A work thread over a scripted worker; `looks` counts what it said of runtimes, `next` waits for the next time. */
function start(pingEveryMs = 20) {
  let looks = 0;
  let waiting: (() => void)[] = [];
  const thread = new WorkThread(
    { endpoints: [], loopback: false },
    () => {
      looks++;
      for (const wake of waiting.splice(0)) wake();
    },
    createLog("test", "silent"),
    { entry: ENTRY, pingEveryMs },
  );
  open.push(thread);
  const next = () => new Promise<void>((resolve) => (waiting = [...waiting, resolve]));
  return { thread, next, looks: () => looks };
}

/** Runs a job on the scripted worker; resolves at its end. */
function run(thread: WorkThread, model: string) {
  const chunks: RuntimeChunk[] = [];
  const { promise, resolve } = Promise.withResolvers<string>();
  const id = thread.run("fake", runtimeJob({ model }), {
    onChunk: (chunk) => {
      chunks.push(chunk);
      if (chunk.type === "done") resolve("done");
    },
    onFailed: (error) => resolve(error.code),
  });
  return { id, chunks, ended: promise };
}

/** Resolves when `look` holds; the thread's own timers drive it. */
async function until(look: () => boolean): Promise<void> {
  while (!look()) await new Promise((resolve) => setImmediate(resolve));
}

test("a job's chunks come through up to its end and not beyond; a failed one says why", async () => {
  const { thread, next } = start();
  await next();
  const job = run(thread, "answer");
  expect(await job.ended).toBe("done");
  expect(await run(thread, "fail").ended).toBe("runtime_failed");
  expect(job.chunks).toEqual([
    { type: "delta", content: "hi" },
    { type: "done", finishReason: "stop", usage: null },
  ]);
});

test("an order about a model is told of up to its end: done, failed, or lost with the thread", async () => {
  const { thread, next } = start();
  await next();
  const order = (model: string) => {
    const { promise, resolve } = Promise.withResolvers<string[]>();
    const told: string[] = [];
    thread.manage(
      "fake",
      { action: "load", model },
      {
        onProgress: ({ phase }) => told.push(phase),
        onDone: () => resolve([...told, "done"]),
        onFailed: ({ code }) => resolve([...told, code]),
      },
    );
    return promise;
  };
  expect(await order("good")).toEqual(["loading", "done"]);
  expect(await order("bad")).toEqual(["loading", "not_supported"]);
  expect((await order("crash")).at(-1)).toBe("runtime_failed");
});

test("a crash fails the jobs that ran, says that no runtime is there, and the thread is started again", async () => {
  const { thread, next, looks } = start();
  await next();
  const bystander = run(thread, "silent");
  const gone = next();
  expect(await run(thread, "crash").ended).toBe("runtime_failed");
  expect(await bystander.ended).toBe("runtime_failed");
  await gone;
  expect(looks()).toBe(2);
  await next();
  expect(await run(thread, "answer").ended).toBe("done");
});

test("an embedded runtime that was announced is announced again to the thread that took over", async () => {
  const { thread, next, looks } = start();
  await next();
  const told = next();
  thread.setEmbedded({ baseUrl: "http://127.0.0.1:1", token: "t", model: "m", contextLength: 1, parallelSlots: 1 });
  await told;
  run(thread, "crash");
  // Gone, back, and the endpoint once more.
  await until(() => looks() === 5);
});

test("a hanging worker makes the node say so while this thread goes on; then it is started anew and its jobs fail", async () => {
  const { thread, next } = start(10);
  await next();
  expect(thread.problem).toBeUndefined();
  const hanging = run(thread, "block");
  await until(() => thread.problem !== undefined);
  expect(thread.problem).toBe("the work thread does not answer");
  expect(await hanging.ended).toBe("runtime_failed");
  await next();
  expect(thread.problem).toBeUndefined();
  expect(await run(thread, "answer").ended).toBe("done");
});

test("a bus thread that was held up itself blames nobody", async () => {
  const { thread, next } = start(10);
  await next();
  const untilMs = performance.now() + 200;
  while (performance.now() < untilMs);
  expect(thread.problem).toBeUndefined();
});

test("closing ends the thread for good", async () => {
  const { thread, next, looks } = start();
  await next();
  await thread.close();
  const before = looks();
  thread.cancel(0);
  await new Promise((resolve) => setImmediate(resolve));
  expect(looks()).toBe(before);
});

test("the real worker finds the diagnostic runtime, runs a job on it and stops one that is cancelled", async () => {
  const { promise: found, resolve } = Promise.withResolvers<string[]>();
  const thread = new WorkThread(
    { endpoints: [], loopback: true },
    (runtimes) => resolve(runtimes.map(({ record }) => record.name)),
    createLog("test", "silent"),
  );
  open.push(thread);
  expect(await found).toContain("loopback");
  const task = runtimeJob({ model: "loopback" });
  const all = Promise.withResolvers<RuntimeChunk[]>();
  const chunks: RuntimeChunk[] = [];
  const handlers = (onDone: () => void) => ({
    onChunk: (chunk: RuntimeChunk) => {
      chunks.push(chunk);
      if (chunk.type === "done") onDone();
    },
    onFailed: (error: Error) => all.reject(error),
  });
  const cancelled = thread.run("loopback", task, { onChunk: () => undefined, onFailed: (error) => all.reject(error) });
  thread.cancel(cancelled);
  thread.run(
    "loopback",
    task,
    handlers(() => all.resolve(chunks)),
  );
  expect((await all.promise).filter(({ type }) => type === "delta").length).toBeGreaterThan(1);
  const gone = Promise.withResolvers<string>();
  thread.run("no-such-runtime", task, { onChunk: () => undefined, onFailed: (error) => gone.resolve(error.code) });
  expect(await gone.promise).toBe("runtime_failed");
  const refused = Promise.withResolvers<string>();
  thread.manage(
    "loopback",
    { action: "load", model: "loopback" },
    {
      onProgress: () => undefined,
      onDone: () => refused.resolve("done"),
      onFailed: (error) => refused.resolve(error.code),
    },
  );
  expect(await refused.promise).toBe("not_supported");
});
