import type { Deployment, HoursStrategy, WorkSchedule } from "../../bus-schemas/index.ts";

const MINUTE_MS = 60_000;
const DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/** What the cloud is for at a time (SEED `work_hours`, `off_hours`). Two strategies that are the same need no clock. */
export function strategyClock(strategy: Deployment["routing_strategy"]): (nowMs: number) => HoursStrategy {
  const { work_hours: work, off_hours: off, work_schedule: schedule } = strategy;
  if (work === off) return () => work;
  const isWorkTime = workClock(schedule);
  return (nowMs) => (isWorkTime(nowMs) ? work : off);
}

/** Whether a moment is within the schedule, by the wall clock of its time zone. A minute is looked up once. */
export function workClock({ days, from, to, time_zone: timeZone }: WorkSchedule): (nowMs: number) => boolean {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone,
    weekday: "short",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  });
  const [start, end] = [minuteOfDay(from), minuteOfDay(to)];
  const works = DAYS.map((day) => (days as string[]).includes(day));
  let known = { minute: Number.NaN, work: false };
  return (nowMs) => {
    const minute = Math.floor(nowMs / MINUTE_MS);
    if (minute !== known.minute) known = { minute, work: at(minute * MINUTE_MS) };
    return known.work;
  };

  function at(nowMs: number): boolean {
    const parts = new Map(format.formatToParts(nowMs).map(({ type, value }) => [type, value]));
    const minute = minuteOfDay(`${parts.get("hour")}:${parts.get("minute")}`);
    const day = DAYS.indexOf((parts.get("weekday") ?? "").toLowerCase());
    const [today, yesterday] = [works[day] === true, works[(day + 6) % 7] === true];
    if (start < end) return today && minute >= start && minute < end;
    return (today && minute >= start) || (yesterday && minute < end);
  }
}

function minuteOfDay(time: string): number {
  const [hours = 0, minutes = 0] = time.split(":").map(Number);
  return hours * 60 + minutes;
}
