import { afterEach, expect, test, vi } from "vitest";
import { FrameQueue } from "./frame-queue.ts";

afterEach(() => vi.useRealTimers());

const queue = (maxBytes = 100) => new FrameQueue<string>(maxBytes, () => "full");

test("items come in the order in which they were pushed, whether the reader waits or not", async () => {
  const items = queue();
  items.push("a", 1);
  items.push("b", 1);
  expect([await items.next(1000), await items.next(1000)]).toEqual(["a", "b"]);
  const waiting = items.next(1000);
  items.push("c", 1);
  expect(await waiting).toBe("c");
});

test("an empty queue gives undefined at the limit, at an abort, and at once without time; what is here comes all the same", async () => {
  vi.useFakeTimers();
  const items = queue();
  const late = items.next(50);
  await vi.advanceTimersByTimeAsync(50);
  expect(await late).toBeUndefined();
  const abort = new AbortController();
  const aborted = items.next(1000, abort.signal);
  abort.abort();
  expect(await aborted).toBeUndefined();
  expect(await items.next(1000, abort.signal)).toBeUndefined();
  expect(await items.next(0)).toBeUndefined();
  items.push("a", 1);
  expect(await items.next(0, abort.signal)).toBe("a");
});

test("an item is not lost to a reader that gave up waiting", async () => {
  vi.useFakeTimers();
  const items = queue();
  const late = items.next(50);
  await vi.advanceTimersByTimeAsync(50);
  await late;
  items.push("a", 1);
  expect(await items.next(10)).toBe("a");
});

test("a reader too far behind gets what waits, then that it was too slow, then nothing", async () => {
  const items = queue(10);
  items.push("a", 6);
  items.push("b", 4);
  items.push("c", 1);
  items.push("d", 1);
  expect([await items.next(0), await items.next(0), await items.next(0), await items.next(0)]).toEqual([
    "a",
    "b",
    "full",
    undefined,
  ]);
});

test("a reader that keeps up may read any amount", async () => {
  const items = queue(10);
  for (let i = 0; i < 100; i++) {
    items.push(String(i), 9);
    expect(await items.next(0)).toBe(String(i));
  }
});
