import { expect, test } from "vitest";
import { ClockWatch } from "./clock-watch.ts";

const HOUR_MS = 3_600_000;

/** A watch on clocks that a test moves; it has been looking once a second for a minute. */
function watched() {
  const now = { wallMs: 1_800_000_000_000, steadyMs: 10_000, sinceBootMs: 500_000 };
  const watch = new ClockWatch(1000, {
    wallMs: () => now.wallMs,
    steadyMs: () => now.steadyMs,
    sinceBootMs: () => now.sinceBootMs,
  });
  const move = (ms: Partial<typeof now>) => {
    now.wallMs += ms.wallMs ?? 0;
    now.steadyMs += ms.steadyMs ?? 0;
    now.sinceBootMs += ms.sinceBootMs ?? 0;
  };
  const second = () => {
    move({ wallMs: 1000, steadyMs: 1000, sinceBootMs: 1000 });
    return watch.look();
  };
  for (let i = 0; i < 60; i++) expect(second()).toEqual({ awayMs: 0, clockSetMs: 0 });
  return { watch, move, second };
}

test("a sleep is told from its clocks: the wall and the uptime went on, the steady clock did not", () => {
  const { move, second } = watched();
  move({ wallMs: HOUR_MS, sinceBootMs: HOUR_MS });
  expect(second()).toEqual({ awayMs: HOUR_MS, clockSetMs: 0 });
  expect(second()).toEqual({ awayMs: 0, clockSetMs: 0 });
});

test("a sleep is told where all clocks run on in it, and a process that was stopped", () => {
  const { move, second } = watched();
  move({ wallMs: HOUR_MS, sinceBootMs: HOUR_MS, steadyMs: HOUR_MS });
  expect(second()).toEqual({ awayMs: HOUR_MS, clockSetMs: 0 });
});

test.each([
  ["NTP sets the clock forward", 90_000],
  ["NTP sets the clock back", -90_000],
  ["somebody sets the wrong year", -400 * 86_400_000],
  ["daylight saving time, by somebody who sets the clock itself", HOUR_MS],
])("%s: that is no sleep", (_what, ms) => {
  const { move, second } = watched();
  move({ wallMs: ms });
  expect(second()).toEqual({ awayMs: 0, clockSetMs: ms });
  expect(second()).toEqual({ awayMs: 0, clockSetMs: 0 });
});

test("a virtual machine that was stopped finds only its wall clock changed, when its host sets it", () => {
  const { move, second } = watched();
  move({ wallMs: 3 * HOUR_MS });
  expect(second()).toEqual({ awayMs: 0, clockSetMs: 3 * HOUR_MS });
});

test("a clock that was set while the machine slept is both", () => {
  const { move, second } = watched();
  move({ wallMs: HOUR_MS + 120_000, sinceBootMs: HOUR_MS });
  expect(second()).toEqual({ awayMs: HOUR_MS, clockSetMs: 120_000 });
});

test("a busy machine is neither away nor set, and a slewed clock is left alone", () => {
  const { move, second } = watched();
  move({ wallMs: 2000, steadyMs: 2000, sinceBootMs: 2000 });
  expect(second()).toEqual({ awayMs: 0, clockSetMs: 0 });
  move({ wallMs: 40 });
  expect(second()).toEqual({ awayMs: 0, clockSetMs: 0 });
});
