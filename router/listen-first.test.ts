import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { listenFirst } from "./listen-first.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Listens, and remembers when it had heard enough, milliseconds from now. */
function listening(caps: { complete: boolean }, signal?: AbortSignal) {
  const startMs = performance.now();
  const heard = { afterMs: undefined as number | undefined };
  void listenFirst(caps, signal).then(() => (heard.afterMs = performance.now() - startMs));
  return heard;
}

test("a router hears every node once before it takes jobs", async () => {
  const heard = listening({ complete: true });
  await vi.advanceTimersByTimeAsync(2000);
  expect(heard.afterMs).toBe(1100);
});

test("it waits for the others to know who is gone, for they leave it no share until then; not for ever", async () => {
  const caps = { complete: false };
  const [heard, never] = [listening(caps), listening({ complete: false })];
  await vi.advanceTimersByTimeAsync(4000);
  caps.complete = true;
  await vi.advanceTimersByTimeAsync(4000);
  expect(heard.afterMs).toBeLessThanOrEqual(4050);
  expect(never.afterMs).toBeLessThanOrEqual(7050);
});

test("a router that is stopped meanwhile does not wait", async () => {
  const stop = new AbortController();
  const heard = listening({ complete: false }, stop.signal);
  await vi.advanceTimersByTimeAsync(1200);
  stop.abort();
  await vi.advanceTimersByTimeAsync(0);
  expect(heard.afterMs).toBe(1200);
});
