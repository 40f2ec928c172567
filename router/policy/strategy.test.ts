import { expect, test } from "vitest";
import { WorkSchedule } from "../../bus-schemas/index.ts";
import { strategyClock, workClock } from "./strategy.ts";

const at = (iso: string) => Date.parse(iso);

test("the working day is Monday to Friday, 9 to 18 in UTC, unless the policy says otherwise", () => {
  const works = workClock(WorkSchedule.parse({}));
  const cases: [string, boolean][] = [
    ["2026-11-23T08:59:59.999Z", false], // a Monday
    ["2026-11-23T09:00:00Z", true],
    ["2026-11-23T17:59:59.999Z", true],
    ["2026-11-23T18:00:00Z", false],
    ["2026-11-27T12:00:00Z", true],
    ["2026-11-28T12:00:00Z", false], // a Saturday
  ];
  for (const [time, expected] of cases) expect([time, works(at(time))]).toEqual([time, expected]);
});

test("hours are by the wall clock of the time zone, in summer as in winter", () => {
  const shanghai = workClock(WorkSchedule.parse({ time_zone: "Asia/Shanghai" }));
  // Monday 09:00 in Shanghai is 01:00 UTC; Monday 00:30 UTC is 08:30 there.
  expect([shanghai(at("2026-11-23T00:30Z")), shanghai(at("2026-11-23T01:00Z"))]).toEqual([false, true]);
  const berlin = workClock(WorkSchedule.parse({ time_zone: "Europe/Berlin" }));
  expect([berlin(at("2026-07-06T07:00Z")), berlin(at("2026-11-23T07:00Z"))]).toEqual([true, false]);
});

test("a shift over midnight belongs to the day on which it began", () => {
  const night = workClock(WorkSchedule.parse({ days: ["fri"], from: "22:00", to: "06:00" }));
  expect(night(at("2026-11-27T21:59Z"))).toBe(false);
  expect(night(at("2026-11-27T22:00Z"))).toBe(true);
  expect(night(at("2026-11-28T05:59Z"))).toBe(true);
  expect(night(at("2026-11-28T06:00Z"))).toBe(false);
  expect(night(at("2026-11-27T05:00Z"))).toBe(false); // Thursday's night
  const always = workClock(WorkSchedule.parse({ days: ["mon"], from: "00:00", to: "24:00" }));
  expect([always(at("2026-11-23T00:00Z")), always(at("2026-11-23T23:59Z"))]).toEqual([true, true]);
  expect(always(at("2026-11-24T00:00Z"))).toBe(false);
});

test("what does not name a time, a day or a time zone is refused", () => {
  const sick = [{ from: "9:00" }, { to: "25:00" }, { days: ["monday"] }, { days: [] }, { time_zone: "Mars/Olympus" }];
  for (const schedule of sick) expect(WorkSchedule.safeParse(schedule).success).toBe(false);
});

test("the strategy changes with the hour, and is the same all day where both are the same", () => {
  const work_schedule = WorkSchedule.parse({});
  const monday = { noon: at("2026-11-23T12:00Z"), night: at("2026-11-23T23:00Z") };
  const seed = strategyClock({
    work_hours: "local_preferred",
    off_hours: "cloud_spillover",
    p0_data: "local_only",
    work_schedule,
  });
  expect([seed(monday.noon), seed(monday.night), seed(monday.noon)]).toEqual([
    "local_preferred",
    "cloud_spillover",
    "local_preferred",
  ]);
});
