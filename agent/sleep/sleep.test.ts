import { expect, test } from "vitest";
import type { SleepRecord } from "../../bus-schemas/index.ts";
import { CANNOT_BE_WOKEN } from "./how-to-wake.ts";
import { createLog } from "../../service/log.ts";
import type { Look } from "./clock-watch.ts";
import { Sleep } from "./sleep.ts";

const CARD: SleepRecord = { ...CANNOT_BE_WOKEN, mac: "02:00:00:00:00:01", broadcast: "10.0.0.255" };

function setup(overrides: { howToWake?: () => Promise<SleepRecord>; sayGoodbye?: () => Promise<void> } = {}) {
  const happened: string[] = [];
  const state = { look: { awayMs: 0, clockSetMs: 0 } as Look, steadyMs: 0 };
  const sleep: Sleep = new Sleep({
    watch: { look: () => state.look } as never,
    howToWake: async () => CARD,
    sayGoodbye: async () => void happened.push(`goodbye, ${JSON.stringify(sleep.look())}`),
    onAwake: (awayMs) => happened.push(`awake after ${awayMs}`),
    onClockSet: (ms) => happened.push(`clock set by ${ms}`),
    steadyMs: () => state.steadyMs,
    log: createLog("test", "silent"),
    ...overrides,
  });
  return { sleep, state, happened };
}

test("before a sleep it takes no jobs any more and says goodbye, with how it can be woken; after it, it is back at once", async () => {
  const { sleep, state, happened } = setup();
  expect([sleep.look(), sleep.closedBecause]).toEqual([null, undefined]);
  await sleep.fallAsleep();
  expect(happened).toEqual([`goodbye, ${JSON.stringify(CARD)}`]);
  expect(sleep.closedBecause).toBe("the node is suspended: about to sleep");
  expect(sleep.look()).toEqual(CARD);
  state.look = { awayMs: 3_600_000, clockSetMs: 0 };
  expect(sleep.look()).toBeNull();
  expect(sleep.closedBecause).toBeUndefined();
  expect(happened.slice(1)).toEqual(["awake after 3600000"]);
});

test("a sleep that nobody announced is noticed as well", () => {
  const { sleep, state, happened } = setup();
  state.look = { awayMs: 60_000, clockSetMs: 0 };
  expect(sleep.look()).toBeNull();
  expect(happened).toEqual(["awake after 60000"]);
});

test("a machine that changed its mind is used again", async () => {
  const { sleep, state, happened } = setup();
  await sleep.fallAsleep();
  state.steadyMs = 20_000;
  expect(sleep.look()).toEqual(CARD);
  state.steadyMs = 20_001;
  expect(sleep.look()).toBeNull();
  expect(happened.at(-1)).toBe("awake after 0");
});

test("a clock that was set is no sleep", () => {
  const { sleep, state, happened } = setup();
  state.look = { awayMs: 0, clockSetMs: -7_200_000 };
  expect(sleep.look()).toBeNull();
  expect(happened).toEqual(["clock set by -7200000"]);
});

test("a sleep is told once, and one that cannot be told is not held up", async () => {
  const { sleep, happened } = setup();
  await Promise.all([sleep.fallAsleep(), sleep.fallAsleep()]);
  await sleep.fallAsleep();
  expect(happened).toHaveLength(1);
  const broken = setup({ sayGoodbye: () => Promise.reject(new Error("no bus")) }).sleep;
  await expect(broken.fallAsleep()).resolves.toBeUndefined();
  expect(broken.look()).toEqual(CARD);
});
