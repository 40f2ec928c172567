import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { whenTold } from "./when-told.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
beforeEach(() => void vi.useFakeTimers({ toFake: ["performance", "setInterval", "clearInterval"] }));
const before = new Map(SIGNALS.map((signal) => [signal, process.listeners(signal)]));
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  for (const signal of SIGNALS)
    for (const listener of process.listeners(signal))
      if (!before.get(signal)?.includes(listener)) process.removeListener(signal, listener);
});

function setup(env: NodeJS.ProcessEnv = {}) {
  const exit = vi.spyOn(process, "exit").mockImplementation((() => undefined) as never);
  const stopping = new AbortController();
  return { exit, stopping, told: whenTold(stopping, env) };
}

test.each(SIGNALS)("%s stops the mesh in order, not the process", async (signal) => {
  const { exit, stopping, told } = setup();
  process.emit(signal);
  await told;
  expect(stopping.signal.aborted).toBe(true);
  expect(exit).not.toHaveBeenCalled();
});

test("the several signals of one Ctrl-C are one; a second Ctrl-C later on exits at once", () => {
  const { exit } = setup();
  process.emit("SIGINT");
  process.emit("SIGINT");
  vi.advanceTimersByTime(1500);
  process.emit("SIGTERM");
  expect(exit).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  process.emit("SIGINT");
  expect(exit).toHaveBeenCalledExactlyOnceWith(130);
});

test("the death of the launcher stops the mesh; without a launcher nobody is watched", () => {
  const dead = setup({ TIERMESH_PARENT_PID: "999999999" });
  vi.advanceTimersByTime(999);
  expect(dead.stopping.signal.aborted).toBe(false);
  vi.advanceTimersByTime(1);
  expect(dead.stopping.signal.aborted).toBe(true);

  const alive = setup({ TIERMESH_PARENT_PID: String(process.pid) });
  const none = setup();
  vi.advanceTimersByTime(5000);
  expect([alive.stopping.signal.aborted, none.stopping.signal.aborted]).toEqual([false, false]);
});
