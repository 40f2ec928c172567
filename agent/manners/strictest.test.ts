import fc from "fast-check";
import { expect, test } from "vitest";
import { Hardware } from "../../bus-schemas/index.ts";
import { manners } from "./manners.ts";
import { CompanyLimits, DEFAULTS, Limits, METERED } from "./settings.ts";
import { loosened, strictest } from "./strictest.ts";

const numberOrNull = (min: number, max: number) => fc.option(fc.integer({ min, max }), { nil: null });
const anyLimits: fc.Arbitrary<Limits> = fc.record({
  max_slots: numberOrNull(1, 64),
  on_battery: fc.boolean(),
  min_battery_percent: numberOrNull(0, 100),
  user_active: fc.boolean(),
  user_idle_seconds: fc.integer({ min: 1, max: 3600 }),
  unknown_idle: fc.constantFrom("active", "idle"),
  max_gpu_temp_c: numberOrNull(30, 120),
  max_cpu_temp_c: numberOrNull(30, 120),
  max_other_cpu_percent: numberOrNull(1, 100),
  other_cpu_back_percent: numberOrNull(0, 100),
  exclusive_apps: fc.subarray(["game", "studio", "obs"]),
  reserved_vram_gb: fc.integer({ min: 0, max: 24 }),
  metered: fc.constantFrom(...METERED),
  schedule: fc.subarray(["mon-fri 19:00-07:00", "sat,sun", "daily 12:00-13:00"]),
  suspend: fc.constantFrom("finish", "hand-back"),
  close_after_seconds: fc.integer({ min: 0, max: 600 }),
  open_after_seconds: fc.integer({ min: 0, max: 3600 }),
});
const anyCompany: fc.Arbitrary<CompanyLimits> = anyLimits.chain((all) =>
  fc
    .subarray(Object.keys(all))
    .map((kept) =>
      CompanyLimits.parse(Object.fromEntries(Object.entries(all).filter(([field]) => kept.includes(field)))),
    ),
);

test("the arbitrary limits name every field, so that none is left out of what follows", () => {
  fc.assert(
    fc.property(anyLimits, (limits) => {
      expect(Object.keys(limits).toSorted()).toEqual(Object.keys(Limits.shape).toSorted());
    }),
  );
});

test("property: for every field what holds is one of the two, and to tighten it again by either changes nothing", () => {
  fc.assert(
    fc.property(anyLimits, anyCompany, (local, company) => {
      const { schedules, ...effective } = strictest(local, company);
      const again = { ...effective, schedule: [] };
      const { schedule: _, ...localRest } = local;
      const { schedule: __, ...companyRest } = company;
      for (const other of [localRest, companyRest]) {
        const { schedules: none, ...twice } = strictest(again, other);
        expect([none, { ...twice, exclusive_apps: twice.exclusive_apps.toSorted() }]).toEqual([
          [],
          { ...effective, exclusive_apps: effective.exclusive_apps.toSorted() },
        ]);
      }
      expect(schedules.length).toBe([local.schedule, company.schedule ?? []].filter(({ length }) => length > 0).length);
      expect(loosened(CompanyLimits.parse(effective), company)).toEqual([]);
    }),
  );
});

test("property: whatever either side alone would stop, both together stop; neither side can open what the other closes", () => {
  const anyReadings = fc.record({
    idle: numberOrNull(0, 4000),
    onBattery: fc.option(fc.boolean(), { nil: null }),
    level: numberOrNull(0, 100),
    celsius: numberOrNull(20, 125),
    metered: fc.option(fc.boolean(), { nil: null }),
    exclusiveApp: fc.option(fc.boolean(), { nil: null }),
    otherCpu: numberOrNull(0, 100),
    day: fc.integer({ min: 0, max: 6 }),
    minute: fc.integer({ min: 0, max: 1439 }),
  });
  fc.assert(
    fc.property(anyLimits, anyLimits, anyReadings, (local, company, seen) => {
      const readings = {
        hardware: Hardware.parse({
          user_idle_seconds: seen.idle,
          on_battery: seen.onBattery,
          battery_level: seen.level === null ? null : seen.level / 100,
          temperature_celsius: seen.celsius,
          metered: seen.metered,
          gpus: [{ name: "card", temperature_celsius: seen.celsius }],
        }),
        otherCpu: seen.otherCpu === null ? null : seen.otherCpu / 100,
        exclusiveApp: seen.exclusiveApp,
        local: { day: seen.day, minute: seen.minute },
        owner: undefined,
      };
      const both = manners(undefined, readings, strictest(local, company), 0);
      for (const one of [local, company]) {
        const alone = manners(undefined, readings, strictest(one, {}), 0);
        expect(both.share).toBeLessThanOrEqual(alone.share);
        expect(both.state.closed).toEqual(expect.arrayContaining([...alone.state.closed]));
      }
    }),
  );
});

test("what is written looser than the company's limit is told by name, what is tighter or not written is not", () => {
  const company = CompanyLimits.parse({
    user_active: false,
    max_gpu_temp_c: 75,
    metered: "no-pulls",
    exclusive_apps: ["studio"],
  });
  expect(
    loosened({ user_active: true, max_gpu_temp_c: 90, metered: "closed", exclusive_apps: ["game"] }, company),
  ).toEqual(["user_active", "max_gpu_temp_c"]);
  expect(loosened({ max_gpu_temp_c: null }, company)).toEqual(["max_gpu_temp_c"]);
  expect(loosened({}, company)).toEqual([]);
  expect(strictest(DEFAULTS.server, company)).toMatchObject({
    user_active: false,
    max_gpu_temp_c: 75,
    exclusive_apps: ["studio"],
  });
});

test("half of the company's limit for others' load is where it goes on, whatever the machine's own file says", () => {
  const effective = strictest({ ...DEFAULTS.server, other_cpu_back_percent: 35 }, { max_other_cpu_percent: 40 });
  expect(effective).toMatchObject({ max_other_cpu_percent: 40, other_cpu_back_percent: 20 });
});
