import { writeFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { TrustedClock } from "./trusted-clock.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** A clock on a file; `pass` lets hours go by, `leap` moves the wall clock alone. */
function clockOn(file: string) {
  const time = { wall: Date.UTC(2026, 0, 1), steady: 0 };
  const leaps: number[] = [];
  const start = () =>
    new TrustedClock({
      file,
      nowMs: () => time.wall,
      steadyMs: () => time.steady,
      onLeap: (ms) => leaps.push(ms / DAY),
    });
  const pass = async (clock: TrustedClock, hours: number) => {
    let now;
    for (let hour = 0; hour < hours; hour++) {
      time.wall += HOUR;
      time.steady += HOUR;
      now = await clock.now();
    }
    return now;
  };
  return { time, leaps, start, pass };
}

test("a clock is believed when it has stood for three days, and no longer when it leaps to either side", async () => {
  await using dir = tempDir();
  const { leaps, pass, start, time } = clockOn(path.join(dir.path, "clock"));
  const clock = start();
  expect(await pass(clock, 72)).toBeUndefined();
  expect(await pass(clock, 1)).toBe(time.wall);
  for (const days of [3650, -3650, 1.1, -1.1]) {
    time.wall += days * DAY;
    expect(await pass(clock, 72)).toBeUndefined();
    expect(clock.isTrusted).toBe(false);
    expect(await pass(clock, 1)).toBe(time.wall);
  }
  expect(leaps).toEqual([3650, -3650, 1.1, -1.1].map((days) => expect.closeTo(days, 5)));
  // A night's sleep, and a correction.
  for (const days of [0.5, -0.5]) {
    time.wall += days * DAY;
    expect(await pass(clock, 1)).toBe(time.wall);
  }
});

test("what it said is known to the next run: a restart proves no leap right, and loses none of the days that it stood", async () => {
  await using dir = tempDir();
  const file = path.join(dir.path, "clock");
  const { pass, start, time } = clockOn(file);
  expect(await pass(start(), 74)).toBe(time.wall);
  time.steady = 5;
  expect(await start().now()).toBe(time.wall);
  time.wall += 3650 * DAY;
  const clock = start();
  expect(await clock.now()).toBeUndefined();
  expect(await pass(clock, 48)).toBeUndefined();
  const again = start();
  expect(await again.now()).toBeUndefined();
  expect(await pass(again, 24)).toBe(time.wall);
  for (const text of ["", "{", '{"wall_ms":"now"}', '{"wall_ms":1e99,"left_ms":0}']) {
    writeFileSync(file, text);
    expect(await start().now()).toBeUndefined();
  }
});
