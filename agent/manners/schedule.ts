/** A moment as the clock on the machine's wall shows it. */
export interface LocalTime {
  /** 0 = Sunday, as `Date.getDay`. */
  day: number;
  /** Since midnight, 0 to 1439. */
  minute: number;
}

/** Hours of some days of the week. */
export interface TimeWindow {
  /** Days on which it begins, 0 = Sunday. */
  days: readonly number[];
  /** Minutes since midnight. */
  from: number;
  /** Minutes since midnight; not after `from`: on the next day. */
  to: number;
}

const DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] as const;
const WHOLE_DAY = { from: 0, to: 24 * 60 };

/** How a window is written, for people. */
export const WINDOW_FORM = 'days and hours such as "mon-fri 19:00-07:00", "sat,sun" or "daily 12:00-13:00"';

/**
 * `mon-fri 19:00-07:00`: days (`mon`, `mon-fri`, `sat,sun`, `daily`), then hours; without hours the whole day. Hours that end before
 * they begin go on into the next day.
 * @returns undefined when it is written otherwise
 */
export function parseWindow(text: string): TimeWindow | undefined {
  const found = /^\s*([a-z,-]+)(?:\s+(\d{1,2}:\d{2})\s*-\s*(\d{1,2}:\d{2}))?\s*$/i.exec(text);
  const days = daysOf(found?.[1]?.toLowerCase() ?? "");
  if (days === undefined) return undefined;
  if (found?.[2] === undefined) return { days, ...WHOLE_DAY };
  const [from, to] = [minuteOf(found[2]), minuteOf(found[3] ?? "")];
  return from === undefined || to === undefined || from === WHOLE_DAY.to || from === to
    ? undefined
    : { days, from, to };
}

/** Whether a moment is in one of the windows. */
export function isWithin(windows: readonly TimeWindow[], { day, minute }: LocalTime): boolean {
  const yesterday = (day + 6) % 7;
  return windows.some(({ days, from, to }) => {
    if (from < to) return days.includes(day) && minute >= from && minute < to;
    return (days.includes(day) && minute >= from) || (days.includes(yesterday) && minute < to);
  });
}

/**
 * Reads the clock on the wall. No duration is ever computed from it, so that a day of 23 or 25 hours needs no care: 19:00 is when the
 * clock shows it.
 * @param timeZone IANA name; default: the machine's own
 */
export function wallClock(timeZone?: string): (unixMs: number) => LocalTime {
  const options = { weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
  const format = new Intl.DateTimeFormat("en-US", timeZone === undefined ? options : { ...options, timeZone });
  return (unixMs) => {
    const parts = new Map(format.formatToParts(unixMs).map(({ type, value }) => [type, value]));
    const day = DAYS.findIndex((name) => name === parts.get("weekday")?.toLowerCase());
    return { day, minute: Number(parts.get("hour")) * 60 + Number(parts.get("minute")) };
  };
}

function daysOf(text: string): number[] | undefined {
  if (text === "daily") return [0, 1, 2, 3, 4, 5, 6];
  const days = new Set<number>();
  for (const part of text.split(",")) {
    const [first = "", last = first, ...more] = part.split("-");
    const [from, to] = [DAYS.findIndex((name) => name === first), DAYS.findIndex((name) => name === last)];
    if (from < 0 || to < 0 || more.length > 0) return undefined;
    for (let day = from; ; day = (day + 1) % 7) {
      days.add(day);
      if (day === to) break;
    }
  }
  return [...days];
}

function minuteOf(text: string): number | undefined {
  const [hours = NaN, minutes = NaN] = text.split(":").map(Number);
  const minute = hours * 60 + minutes;
  return hours <= 24 && minutes < 60 && minute <= WHOLE_DAY.to ? minute : undefined;
}
