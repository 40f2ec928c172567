import fc from "fast-check";
import { expect, test } from "vitest";
import { isWithin, parseWindow, wallClock, type TimeWindow } from "./schedule.ts";

const windowOf = (text: string): TimeWindow => parseWindow(text) ?? expect.fail(`${text} is not read`);
const at = (text: string, day: number, clock: string) => {
  const [hours = 0, minutes = 0] = clock.split(":").map(Number);
  return isWithin([windowOf(text)], { day, minute: hours * 60 + minutes });
};

test("nights of working days begin on these days and end on the morning after", () => {
  const nights = "mon-fri 19:00-07:00";
  expect([at(nights, 1, "18:59"), at(nights, 1, "19:00"), at(nights, 2, "06:59"), at(nights, 2, "07:00")]).toEqual([
    false,
    true,
    true,
    false,
  ]);
  // Friday's night ends on Saturday; Sunday has none, so Monday's morning is free.
  expect([at(nights, 6, "03:00"), at(nights, 6, "20:00"), at(nights, 1, "03:00")]).toEqual([true, false, false]);
});

test.each([
  ["sat,sun", 6, "00:00", true],
  ["sat,sun", 5, "23:59", false],
  ["fri-mon 08:00-24:00", 0, "23:59", true],
  ["fri-mon 08:00-24:00", 2, "12:00", false],
  ["Daily 12:00-13:30", 3, "13:29", true],
])("%s on day %i at %s", (text, day, clock, open) => {
  expect(at(text, day, clock)).toBe(open);
});

test.each([
  "",
  "19:00-07:00",
  "mon",
  "mo-fr",
  "mon-fri 19-7",
  "mon 25:00-26:00",
  "mon 10:60-11:00",
  "mon 8:00-8:00",
  "mon 24:00-08:00",
  "mon-tue-wed",
  "mon 08:00-24:01",
])("%j is no window, or the whole of one day", (text) => {
  expect(parseWindow(text)).toEqual(text === "mon" ? { days: [1], from: 0, to: 1440 } : undefined);
});

test("the hours are those that the clock on the wall shows, on days of 23 and of 25 hours too", () => {
  const berlin = wallClock("Europe/Berlin");
  const open = (iso: string) => isWithin([windowOf("sat,sun 01:00-04:00")], berlin(Date.parse(iso)));
  // 29 March 2026: the clock goes from 02:00 to 03:00, which is 01:00 UTC.
  expect(["00:00", "00:59", "01:00", "01:59", "02:00"].map((utc) => open(`2026-03-29T${utc}:00Z`))).toEqual([
    true,
    true,
    true,
    true,
    false,
  ]);
  // 25 October 2026: 03:00 becomes 02:00 again; the hour that comes twice is open twice.
  expect(
    ["22:59", "23:00", "00:30", "01:30", "02:59", "03:00"].map((utc) =>
      open(`2026-10-${utc.startsWith("2") ? 24 : 25}T${utc}:00Z`),
    ),
  ).toEqual([false, true, true, true, true, false]);
});

test("property: on any day of a year in a zone with summer time, a night is open from its evening to its morning and no minute else", () => {
  const newYork = wallClock("America/New_York");
  const nights = [windowOf("daily 19:00-07:00")];
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 366 * 1440 }), (minute) => {
      const unixMs = Date.UTC(2026, 0, 1) + minute * 60_000;
      const shown = new Intl.DateTimeFormat("en-GB", {
        timeZone: "America/New_York",
        hour: "2-digit",
        hourCycle: "h23",
      });
      const hour = Number(shown.format(unixMs));
      expect(isWithin(nights, newYork(unixMs))).toBe(hour >= 19 || hour < 7);
    }),
  );
});
