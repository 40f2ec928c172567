import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { pause, startLoop } from "./loop.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const options = { name: "test", everyMs: 1000, jitter: 0, onError: () => undefined };

test("the first run is at once, the next one a pause after the last one's end", async () => {
  const body = vi.fn<() => Promise<void>>(() => pause(300));
  const loop = startLoop(options, body);
  expect(body).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(1299);
  expect(body).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(body).toHaveBeenCalledTimes(2);
  const stopped = loop.stop();
  await vi.advanceTimersByTimeAsync(300);
  await stopped;
});

test("two runs never overlap, however slow one is", async () => {
  let running = 0;
  let most = 0;
  const loop = startLoop(options, async () => {
    most = Math.max(most, ++running);
    await pause(5000);
    running--;
  });
  await vi.advanceTimersByTimeAsync(60_000);
  expect(most).toBe(1);
  const stopped = loop.stop();
  await vi.advanceTimersByTimeAsync(5000);
  await stopped;
});

test("a run that throws is reported and the loop goes on", async () => {
  const onError = vi.fn<(error: unknown) => void>();
  const body = vi.fn<() => void>(() => {
    throw new Error("broken");
  });
  const loop = startLoop({ ...options, onError }, body);
  await vi.advanceTimersByTimeAsync(2000);
  expect(body).toHaveBeenCalledTimes(3);
  expect(onError).toHaveBeenCalledTimes(3);
  await loop.stop();
});

test("stop waits for the run in progress, tells it by its signal, and no other starts", async () => {
  let told = false;
  let ended = false;
  const body = vi.fn<(signal: AbortSignal) => Promise<void>>(async (signal) => {
    signal.addEventListener("abort", () => (told = true));
    await pause(500);
    ended = true;
  });
  const loop = startLoop(options, body);
  const stopped = loop.stop().then(() => ended);
  expect(told).toBe(true);
  await vi.advanceTimersByTimeAsync(500);
  expect(await stopped).toBe(true);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(body).toHaveBeenCalledTimes(1);
});

test("an outer signal ends it too, and an error after that is not reported", async () => {
  const onError = vi.fn<(error: unknown) => void>();
  const outer = new AbortController();
  const loop = startLoop(
    { ...options, onError },
    (signal) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("aborted")))),
    outer.signal,
  );
  outer.abort();
  await loop.stop();
  expect(onError).not.toHaveBeenCalled();
});

test("pauses vary by the jitter and nothing else", async () => {
  const body = vi.fn<() => void>();
  const loop = startLoop({ ...options, jitter: 0.5, random: () => 0 }, body);
  await vi.advanceTimersByTimeAsync(499);
  expect(body).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(body).toHaveBeenCalledTimes(2);
  await loop.stop();
});

test("a pause ends early when its signal aborts and leaves no timer", async () => {
  const abort = new AbortController();
  const waiting = pause(1_000_000, abort.signal);
  abort.abort();
  await waiting;
  await pause(1_000_000, abort.signal);
  expect(vi.getTimerCount()).toBe(0);
});
