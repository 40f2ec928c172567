import { afterEach, expect, test, vi } from "vitest";
import { MeshError } from "../../bus-schemas/index.ts";
import { createLog } from "../../service/log.ts";
import { ManagedRuntime, type SupervisionEvent } from "./managed-runtime.ts";

afterEach(() => vi.useRealTimers());

/** A runtime on virtual time; `fail` makes its starts fail, `hold` keeps one going. */
function managed({
  startsIt = true,
  fail = false,
  ...settings
}: { startsIt?: boolean; fail?: boolean; start_seconds?: number; silent_seconds?: number } = {}) {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  const told: SupervisionEvent[] = [];
  const starts: number[] = [];
  const stop = new AbortController();
  const state = { fail, hold: undefined as PromiseWithResolvers<void> | undefined };
  const runtime = new ManagedRuntime({
    name: "vllm",
    settings: { start_seconds: 600, silent_seconds: 20, give_up_after: 3, ...settings },
    startsIt,
    means: {
      description: "scripted",
      restart: async () => {
        starts.push(performance.now());
        if (state.fail) throw new MeshError("runtime_failed", "no such program");
        await state.hold?.promise;
      },
      stop: () => Promise.resolve(),
    },
    tell: (event) => told.push(event),
    log: createLog("test", "silent"),
    nowMs: () => performance.now(),
    signal: stop.signal,
  });
  const after = (ms: number) => vi.advanceTimersByTimeAsync(ms);
  /** What inspections say, every five seconds. */
  const hears = async (answers: boolean, seconds: number) => {
    for (let s = 0; s < seconds; s += 5) {
      runtime.heard(answers);
      await after(5000);
    }
  };
  return { runtime, told, starts, stop, state, after, hears };
}

test("a command is started at once where nothing answers, which is no news; one that answers already is left alone", async () => {
  const { runtime, starts, told, after } = managed();
  runtime.heard(false);
  await after(0);
  expect([starts.length, told]).toEqual([1, []]);
  const other = managed();
  await other.hears(true, 60);
  expect(other.starts).toEqual([]);
});

test("a unit is systemd's to start: it is restarted only when it has not answered for its whole time", async () => {
  const { starts, told, hears } = managed({ startsIt: false, start_seconds: 60 });
  await hears(false, 60);
  expect(starts).toEqual([]);
  await hears(false, 10);
  expect(starts).toHaveLength(1);
  expect(told).toMatchObject([{ type: "restarted", cause: "silence", attempt: 1 }]);
});

test("one that has answered is restarted when it is silent for long enough, and a short silence is none", async () => {
  const { starts, told, hears } = managed({ startsIt: false });
  await hears(true, 30);
  await hears(false, 15);
  await hears(true, 5);
  await hears(false, 20);
  expect(starts).toEqual([]);
  await hears(false, 10);
  expect(starts).toHaveLength(1);
  expect(told).toEqual([{ type: "restarted", cause: "silence", attempt: 1, reason: null }]);
});

test("a model that loads for minutes is not restarted meanwhile", async () => {
  const { starts, hears } = managed({ start_seconds: 600 });
  await hears(false, 595);
  expect(starts).toHaveLength(1);
  await hears(true, 5);
  expect(starts).toHaveLength(1);
});

test("what an inspection says that began before the restart does not count for the run after it", async () => {
  const { runtime, starts, hears, after } = managed({ silent_seconds: 5 });
  runtime.heard(false);
  await after(0);
  runtime.heard(true); // of the run before
  await hears(false, 100);
  expect(starts).toHaveLength(1);
});

test("a process that ends is started again, with pauses that double, until it is given up; then an operator may order it", async () => {
  const { runtime, starts, told, after, hears } = managed();
  runtime.heard(false);
  await after(0);
  for (const pauseMs of [1000, 2000, 4000]) {
    runtime.ended("exit 1");
    await after(pauseMs - 1);
    const before = starts.length;
    await after(1);
    expect(starts).toHaveLength(before + 1);
  }
  runtime.ended("SIGSEGV");
  await after(600_000);
  expect(starts).toHaveLength(4);
  expect(told.map(({ type }) => type)).toEqual(["restarted", "restarted", "restarted", "given_up"]);
  expect(told.at(-1)).toEqual({ type: "given_up", attempts: 3, reason: "SIGSEGV" });
  await hears(false, 600);
  expect(starts).toHaveLength(4);
  const ordered = runtime.restart("new driver");
  await after(5000);
  expect(starts).toHaveLength(5);
  runtime.heard(true);
  await ordered;
  expect(told.at(-1)).toEqual({ type: "restarted", cause: "operator", attempt: 1, reason: "new driver" });
});

test("after a good run the pauses and the count begin anew", async () => {
  const { runtime, starts, after, hears } = managed();
  runtime.heard(false);
  await after(0);
  for (let time = 0; time < 6; time++) {
    await after(3000);
    await hears(true, 700);
    runtime.ended("exit 137");
    await after(1000);
  }
  expect(starts).toHaveLength(7);
});

test("a program that cannot be started is tried again and given up with the reason", async () => {
  const { runtime, starts, told, after } = managed({ fail: true });
  runtime.heard(false);
  await after(100_000);
  expect(starts).toHaveLength(4);
  expect(told).toEqual([{ type: "given_up", attempts: 3, reason: "no such program" }]);
});

test("one that was given up and answers again is kept again", async () => {
  const { runtime, starts, after, hears, state } = managed({ fail: true });
  runtime.heard(false);
  await after(100_000);
  state.fail = false;
  await hears(true, 30);
  await hears(false, 30);
  await after(10_000);
  expect(starts).toHaveLength(5);
});

test("a restart that is not needed any more is left out", async () => {
  const { runtime, starts, hears, after } = managed({ startsIt: false });
  await hears(true, 10);
  runtime.ended("exit 1");
  runtime.heard(true);
  await after(60_000);
  expect(starts).toEqual([]);
});

test("a second order while one is carried out is refused, and one that does not help says so", async () => {
  const { runtime, state } = managed({ startsIt: false, start_seconds: 1 });
  state.hold = Promise.withResolvers();
  const first = runtime.restart(null);
  await expect(runtime.restart(null)).rejects.toMatchObject({ code: "conflict", field: "runtime" });
  vi.useRealTimers();
  state.hold.resolve();
  await expect(first).rejects.toMatchObject({ code: "runtime_failed" });
});

test("one that ends while it is being started is not forgotten", async () => {
  const { runtime, state, starts, after } = managed();
  state.hold = Promise.withResolvers();
  runtime.heard(false);
  await after(0);
  runtime.ended("exit 2");
  state.hold.resolve();
  state.hold = undefined;
  await after(1000);
  expect(starts).toHaveLength(2);
});

test("when the agent stops, nothing is started any more", async () => {
  const { runtime, starts, stop, after } = managed();
  runtime.heard(false);
  await after(0);
  runtime.ended("exit 1");
  stop.abort();
  await after(600_000);
  expect(starts).toHaveLength(1);
});
