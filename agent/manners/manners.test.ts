import fc from "fast-check";
import { expect, test } from "vitest";
import { Gpu, Hardware } from "../../bus-schemas/index.ts";
import { manners, type MannersState, type Readings, type Verdict } from "./manners.ts";
import { DEFAULTS, type Limits, type Profile } from "./settings.ts";
import { strictest } from "./strictest.ts";

const MONDAY_NOON = { day: 1, minute: 720 };
const SAMPLED = "2026-11-26T10:00:00.000Z";

function readings(
  hardware: Partial<Hardware> = {},
  others: Partial<Omit<Readings, "hardware">> = {},
  gpuCelsius?: number | null,
): Readings {
  const gpus = gpuCelsius === undefined ? [] : [Gpu.parse({ name: "card", temperature_celsius: gpuCelsius })];
  return {
    hardware: { ...Hardware.parse({ gpus, sampled_at: { gpus: SAMPLED } }), ...hardware },
    otherCpu: 0,
    exclusiveApp: false,
    local: MONDAY_NOON,
    owner: undefined,
    ...others,
  };
}

const away: Partial<Hardware> = { user_idle_seconds: 4000, on_battery: false };
const limitsOf = (profile: Profile, more: Partial<Limits> = {}) => strictest({ ...DEFAULTS[profile], ...more }, {});

/** Looks once a second. @returns each verdict */
function follow(seen: readonly Readings[], limits = limitsOf("workstation"), from?: MannersState): Verdict[] {
  const verdicts: Verdict[] = [];
  let state = from;
  for (const [second, reading] of seen.entries()) {
    const verdict = manners(state, reading, limits, second * 1000);
    verdicts.push(verdict);
    state = verdict.state;
  }
  return verdicts;
}

const times = (count: number, reading: Readings) => Array.from({ length: count }, () => reading);
const closedBy = (verdicts: readonly Verdict[]) => verdicts.map(({ closed }) => closed?.gate ?? null);

test("a workstation whose user is away works; the user comes back, and it stops at that look", () => {
  const [before, after] = follow([readings(away), readings({ ...away, user_idle_seconds: 0 })]);
  expect(before).toMatchObject({ share: 1, closed: null });
  expect(after).toMatchObject({ share: 0, closed: { gate: "user", reason: "its user is active" }, sinceMs: 1000 });
});

test("it goes on when the user has been away, and then the hold time has passed, not before", () => {
  const seen = [readings({ ...away, user_idle_seconds: 0 }), ...times(40, readings(away))];
  const open = closedBy(follow(seen)).indexOf(null);
  expect(open).toBe(1 + DEFAULTS.workstation.open_after_seconds);
});

test("unknown idle means active on a workstation and idle on a server", () => {
  const unknown = readings({ user_idle_seconds: null });
  expect(follow([unknown])[0]?.closed?.reason).toBe("nobody can tell whether its user is away");
  expect(follow([unknown], limitsOf("server"))[0]?.closed).toBeNull();
  expect(follow([unknown], limitsOf("server", { user_active: false }))[0]?.closed).toBeNull();
  expect(follow([unknown], limitsOf("workstation", { unknown_idle: "idle" }))[0]?.closed).toBeNull();
});

test.each<[string, Partial<Hardware>, Partial<Limits>, string | null]>([
  ["on battery", { on_battery: true, battery_level: 1 }, {}, "it runs on battery"],
  ["on mains", { on_battery: false, battery_level: 0.1 }, {}, null],
  [
    "on battery, allowed, 29 %",
    { on_battery: true, battery_level: 0.29 },
    { on_battery: true },
    "its battery is below 30 %",
  ],
  ["on battery, allowed, 36 %", { on_battery: true, battery_level: 0.36 }, { on_battery: true }, null],
  ["no battery known", { on_battery: null, battery_level: null }, {}, null],
  ["a metered network, downloads spared", { metered: true }, {}, null],
  ["a metered network, everything spared", { metered: true }, { metered: "closed" }, "its network is metered"],
  ["outside its hours", {}, { schedule: ["mon-fri 19:00-07:00"] }, "outside the hours when it works"],
  ["within its hours", {}, { schedule: ["mon-fri 08:00-18:00"] }, null],
  ["a hot processor", { temperature_celsius: 95 }, {}, "its processor is too hot (limit 90 °C)"],
  ["macOS in need", { thermal_pressure: "critical" }, {}, "its processor is too hot (limit 90 °C)"],
])("%s: %o", (_, hardware, limits, reason) => {
  const [verdict] = follow([readings({ ...away, ...hardware })], limitsOf("workstation", limits));
  expect(verdict?.closed?.reason ?? null).toBe(reason);
});

test("the owner's word counts at once, both ways, and comes before every other reason", () => {
  const active = { ...away, user_idle_seconds: 0 };
  const verdicts = follow([readings(away), readings(active, { owner: "pause" }), readings(away, { owner: "finish" })]);
  expect(closedBy(verdicts)).toEqual([null, "owner", "owner"]);
  const [, resumed] = follow([readings(away, { owner: "pause" }), readings(away)]);
  expect(resumed?.closed).toBeNull();
});

test("an exclusive app stops everything, and not to know whether it runs changes nothing", () => {
  const limits = limitsOf("workstation", { exclusive_apps: ["game"], open_after_seconds: 0 });
  const look = (exclusiveApp: boolean | null) => readings(away, { exclusiveApp });
  const verdicts = follow([look(null), look(true), look(null), look(false), look(null)], limits);
  expect(closedBy(verdicts)).toEqual([null, "app", "app", null, null]);
});

test("others' load: enters at 40 % held for ten seconds, leaves at 20 % held for thirty", () => {
  const at = (percent: number | null) => readings(away, { otherCpu: percent === null ? null : percent / 100 });
  // A peak of nine seconds is nobody's business.
  const short = follow([at(0), ...times(10, at(90)), ...times(60, at(30))]);
  expect(closedBy(short).every((gate) => gate === null)).toBe(true);
  const long = follow([
    at(0),
    ...times(20, at(41)),
    ...times(60, at(30)),
    ...times(20, at(null)),
    ...times(40, at(19)),
  ]);
  const gates = closedBy(long);
  expect(gates.indexOf("cpu")).toBe(11);
  expect(gates.lastIndexOf("cpu")).toBe(1 + 20 + 60 + 20 + 29);
});

test("heat takes slots step by step before it stops them, and gives them back one by one", () => {
  const hot = (celsius: number) => readings(away, {}, celsius);
  const up = follow([60, 69, 70, 75, 79, 80].map(hot)).map(({ share }) => Math.round(share * 3));
  expect(up).toEqual([3, 3, 2, 1, 1, 0]);
  const down = follow([hot(80), ...times(31, hot(74)), ...times(62, hot(60))]).map(({ share }) =>
    Math.round(share * 3),
  );
  expect([down[1], down[31], down[32], down[62], down[93]]).toEqual([0, 1, 1, 2, 3]);
});

test("a sensor that falls silent has cooled nothing; a card that sleeps, or is gone, is not hot", () => {
  const silent = follow([readings(away, {}, 80), ...times(300, readings(away, {}, null))]);
  expect(silent.at(-1)?.closed?.gate).toBe("gpu_heat");
  expect(follow([readings(away, {}, 80), ...times(300, readings(away))]).at(-1)?.share).toBe(1);
});

const anyNumber = (min: number, max: number) => fc.option(fc.double({ min, max, noNaN: true }), { nil: null, freq: 3 });
const anyReadings = fc
  .record({
    idle: anyNumber(0, 1000),
    onBattery: fc.option(fc.boolean(), { nil: null }),
    level: anyNumber(0, 1),
    metered: fc.option(fc.boolean(), { nil: null }),
    cpu: anyNumber(20, 110),
    gpu: anyNumber(20, 110),
    otherCpu: anyNumber(0, 1),
    exclusiveApp: fc.option(fc.boolean(), { nil: null }),
    day: fc.integer({ min: 0, max: 6 }),
    minute: fc.integer({ min: 0, max: 1439 }),
    owner: fc.option(fc.constantFrom("pause" as const, "finish" as const), { nil: undefined, freq: 10 }),
  })
  .map(({ idle, onBattery, level, metered, cpu, gpu, day, minute, ...others }) =>
    readings(
      {
        user_idle_seconds: idle,
        on_battery: onBattery,
        battery_level: level,
        metered,
        temperature_celsius: cpu,
      },
      { ...others, local: { day, minute } },
      gpu,
    ),
  );
const anyProfile = fc.constantFrom<Profile>("workstation", "server", "egress");

test("property: whatever is seen, the share is a third of three, and 0 exactly when there is a reason", () => {
  fc.assert(
    fc.property(fc.array(anyReadings, { maxLength: 30 }), anyProfile, (seen, profile) => {
      for (const { share, closed, sinceMs } of follow(seen, limitsOf(profile, { exclusive_apps: ["x"] }))) {
        expect([0, 1 / 3, 2 / 3, 1]).toContain(share);
        expect(share === 0).toBe(closed !== null);
        expect(closed === null || (closed.reason.length > 0 && closed.reason.length <= 200)).toBe(true);
        expect(sinceMs).toBeGreaterThanOrEqual(0);
      }
    }),
  );
});

test("property: no flapping: what was closed by others' load, heat or a user opens after the hold time at the earliest", () => {
  fc.assert(
    fc.property(fc.array(anyReadings, { minLength: 2, maxLength: 120 }), (seen) => {
      const quiet = seen.map((each) => ({ ...each, owner: undefined }));
      const closed = closedBy(follow(quiet)).map((gate) => gate !== null);
      const lasted: number[] = [];
      let closedAt: number | undefined;
      for (const [second, now] of closed.entries()) {
        if (now) closedAt ??= second;
        else if (closedAt !== undefined) lasted.push(second - closedAt);
        if (!now) closedAt = undefined;
      }
      expect(lasted.filter((seconds) => seconds < DEFAULTS.workstation.open_after_seconds)).toEqual([]);
    }),
  );
});

test("property: a value that stays between its two edges never changes anything", () => {
  const between = fc.record({
    otherCpu: fc.double({ min: 0.2, max: 0.399, noNaN: true }),
    gpu: fc.double({ min: 65, max: 69.9, noNaN: true }),
  });
  fc.assert(
    fc.property(fc.array(between, { maxLength: 200 }), fc.boolean(), (values, closedBefore) => {
      const start = closedBefore ? times(12, readings(away, { otherCpu: 0.5 }, 70)) : [readings(away, {}, 20)];
      const seen = values.map(({ otherCpu, gpu }) => readings(away, { otherCpu }, gpu));
      const verdicts = follow([...start, ...seen]).slice(start.length - 1);
      expect(new Set(verdicts.map(({ share }) => share)).size).toBe(1);
      expect(new Set(closedBy(verdicts)).size).toBe(1);
    }),
  );
});

test("property: monotone: more heat, more load by others, less battery, less idleness never give more", () => {
  fc.assert(
    fc.property(
      fc.array(anyReadings, { maxLength: 40 }),
      anyReadings,
      fc.double({ min: 0, max: 1, noNaN: true }),
      (seen, last, by) => {
        const limits = limitsOf("workstation", { on_battery: true });
        const state = follow(seen, limits).at(-1)?.state;
        const { hardware } = last;
        const plus = (value: number | null, amount: number) => (value === null ? null : value + amount);
        const worse: Readings = {
          ...last,
          otherCpu: last.otherCpu === null ? null : Math.min(1, last.otherCpu + by),
          hardware: {
            ...hardware,
            temperature_celsius: plus(hardware.temperature_celsius, by * 40),
            battery_level: hardware.battery_level === null ? null : hardware.battery_level * by,
            user_idle_seconds: hardware.user_idle_seconds === null ? null : hardware.user_idle_seconds * by,
            gpus: hardware.gpus.map((gpu) => ({ ...gpu, temperature_celsius: plus(gpu.temperature_celsius, by * 40) })),
          },
        };
        const nowMs = seen.length * 1000;
        expect(manners(state, worse, limits, nowMs).share).toBeLessThanOrEqual(
          manners(state, last, limits, nowMs).share,
        );
      },
    ),
  );
});
