import { afterEach, expect, test, vi } from "vitest";
import { createLog } from "../service/log.ts";
import { keepEmbedded } from "./embedded-keeper.ts";
import { EmbeddedError, type EmbeddedRuntime } from "./embedded/index.ts";

afterEach(() => vi.useRealTimers());

/** A keeper whose starts are scripted: each entry is what one start gives; the last is repeated. */
function keeper(...starts: (() => Promise<EmbeddedRuntime>)[]) {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  const said: string[] = [];
  const ends: ((() => void) | undefined)[] = [];
  const stop = new AbortController();
  let count = 0;
  const ended = keepEmbedded(
    {
      cacheDir: "/cache",
      env: {},
      log: createLog("test", "silent"),
      onEndpoint: (endpoint) => said.push(endpoint?.baseUrl ?? "gone"),
      onUnavailable: () => said.push("unavailable"),
      onUp: (end) => (ends[0] = end),
      onRestarted: (attempt) => said.push(`restarted ${attempt}`),
      start: () => {
        const next = starts[Math.min(count++, starts.length - 1)];
        if (next === undefined) throw new Error("no script");
        return next();
      },
    },
    stop.signal,
  );
  return { said, ends, stop, ended, starts: () => count };
}

/** A runtime that runs until `end` or `stop` is called. */
function runtime(baseUrl = "http://127.0.0.1:1") {
  const { promise: exited, resolve } = Promise.withResolvers<{ code: number | null; signal: NodeJS.Signals | null }>();
  const end = () => resolve({ code: 1, signal: null });
  const stop = vi.fn<() => typeof exited>(() => {
    end();
    return exited;
  });
  const value = { baseUrl, token: "t", model: "tiny", contextLength: 4096, parallelSlots: 2, pid: 1, exited, stop };
  return { end, stop, start: () => Promise.resolve(value) };
}

const failing = (code: ConstructorParameters<typeof EmbeddedError>[0]) => () =>
  Promise.reject(new EmbeddedError(code, "no"));

test("a runtime that ends is announced as gone and started again", async () => {
  const [first, second] = [runtime("http://127.0.0.1:1"), runtime("http://127.0.0.1:2")];
  const { said, stop, ended } = keeper(first.start, second.start);
  await vi.advanceTimersByTimeAsync(0);
  first.end();
  await vi.advanceTimersByTimeAsync(0);
  expect(said).toEqual(["http://127.0.0.1:1", "gone"]);
  await vi.advanceTimersByTimeAsync(500);
  expect(said).toEqual(["http://127.0.0.1:1", "gone", "http://127.0.0.1:2", "restarted 1"]);
  stop.abort();
  await ended;
  expect(second.stop).toHaveBeenCalledOnce();
});

test("the pauses between failed starts double up to a minute", async () => {
  const { stop, ended, starts } = keeper(failing("model_unavailable"));
  await vi.advanceTimersByTimeAsync(0);
  expect(starts()).toBe(1);
  for (const [index, pauseMs] of [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000].entries()) {
    await vi.advanceTimersByTimeAsync(pauseMs - 1);
    expect(starts()).toBe(index + 1);
    await vi.advanceTimersByTimeAsync(1);
    expect(starts()).toBe(index + 2);
  }
  stop.abort();
  await ended;
});

test("after a good run the pauses begin anew", async () => {
  const good = runtime();
  const { stop, ended, starts } = keeper(
    failing("start_failed"),
    failing("start_failed"),
    good.start,
    failing("start_failed"),
  );
  await vi.advanceTimersByTimeAsync(500 + 1000);
  expect(starts()).toBe(3);
  await vi.advanceTimersByTimeAsync(60_001);
  good.end();
  await vi.advanceTimersByTimeAsync(499);
  expect(starts()).toBe(3);
  await vi.advanceTimersByTimeAsync(1);
  expect(starts()).toBe(4);
  stop.abort();
  await ended;
});

test.each(["disabled", "unsupported_platform"] as const)("%s is final: told once, not tried again", async (code) => {
  const { said, ended, starts } = keeper(failing(code));
  await ended;
  expect([said, starts()]).toEqual([["unavailable"], 1]);
});

test("told to stop during a start that succeeds all the same, it stops what came up and offers nothing", async () => {
  const late = runtime();
  const coming = Promise.withResolvers<void>();
  const { said, stop, ended } = keeper(() => coming.promise.then(late.start));
  stop.abort();
  coming.resolve();
  await ended;
  expect(late.stop).toHaveBeenCalledOnce();
  expect(said).not.toContain("http://127.0.0.1:1");
});

test("a start that fails because it was told to stop is no news", async () => {
  const { said, stop, ended } = keeper(() => Promise.reject(new EmbeddedError("start_failed", "stopped")));
  stop.abort();
  await ended;
  expect(said).toEqual([]);
});

test("whoever ends it by its word has it started again, and a runtime that is gone cannot be ended", async () => {
  const [first, second] = [runtime("http://127.0.0.1:1"), runtime("http://127.0.0.1:2")];
  const { said, ends, stop, ended } = keeper(first.start, second.start);
  await vi.advanceTimersByTimeAsync(0);
  ends[0]?.();
  await vi.advanceTimersByTimeAsync(0);
  expect([first.stop.mock.calls.length, ends[0]]).toEqual([1, undefined]);
  await vi.advanceTimersByTimeAsync(500);
  expect(said).toEqual(["http://127.0.0.1:1", "gone", "http://127.0.0.1:2", "restarted 1"]);
  expect(ends[0]).toBeTypeOf("function");
  stop.abort();
  await ended;
});
