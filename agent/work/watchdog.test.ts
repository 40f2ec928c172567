import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Watchdog } from "./watchdog.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] }));
afterEach(() => void vi.useRealTimers());

/** A job whose runtime answers as told; an answer that does not come is a question that lasts to its limit. */
function watched(answers: () => boolean | "late") {
  const asked: number[] = [];
  const hung: number[] = [];
  const watchdog = new Watchdog({
    alive: async () => {
      asked.push(performance.now());
      const answer = answers();
      if (answer !== true) await new Promise((resolve) => setTimeout(resolve, answer === "late" ? 2000 : 500));
      return answer === true;
    },
    onHung: () => void hung.push(performance.now()),
    now: () => performance.now(),
  });
  const startMs = performance.now();
  return { watchdog, asked, hung: () => hung.map((atMs) => Math.round(atMs - startMs)) };
}
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

test("a runtime that does not answer while its job is silent is hung after one and a half seconds, once", async () => {
  const { hung } = watched(() => false);
  await pass(1499);
  expect(hung()).toEqual([]);
  await pass(60_000);
  expect(hung()).toHaveLength(1);
  expect(hung()[0]).toBeLessThan(1510);
});

test("a long prefill is no hang: its runtime answers beside it", async () => {
  const { asked, hung } = watched(() => true);
  await pass(120_000);
  expect(hung()).toEqual([]);
  expect(asked.length).toBeGreaterThan(200);
});

test("a job that says something needs no question, and takes back a miss", async () => {
  const { watchdog, asked, hung } = watched(() => false);
  for (let i = 0; i < 20; i++) {
    await pass(400);
    watchdog.heard();
  }
  expect(asked).toEqual([]);
  await pass(800);
  expect(asked).toHaveLength(1);
  watchdog.heard();
  await pass(1200);
  expect(hung()).toEqual([]);
});

test("one answer between two misses is an answer", async () => {
  const answers = [false, true, false, true, false, true];
  const { hung } = watched(() => answers.shift() ?? true);
  await pass(20_000);
  expect(hung()).toEqual([]);
});

test("a question that this thread itself was late with counts for nothing", async () => {
  let late = true;
  const { hung } = watched(() => (late ? "late" : false));
  await pass(20_000);
  expect(hung()).toEqual([]);
  late = false;
  await pass(5000);
  expect(hung()).toHaveLength(1);
});

test("a job that ended is not watched any more", async () => {
  const { watchdog, asked, hung } = watched(() => false);
  await pass(600);
  watchdog.stop();
  await pass(10_000);
  expect([asked.length, hung()]).toEqual([1, []]);
});
