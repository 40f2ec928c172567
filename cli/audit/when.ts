import { InvalidArgumentError } from "commander";

const UNIT_MS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;
const AGO = /^(\d{1,6})([smhdw])$/;
/** A date, or a moment with its zone: without one, the same word would mean another moment on another machine. */
const MOMENT = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2}))?$/;

/**
 * A moment as people write it, as epoch milliseconds: `2026-11-26`, `2026-11-26T08:00:00Z`, `2026-11-26T16:00+08:00`, or so long ago:
 * `30m`, `2h`, `7d`. A date alone begins at midnight UTC.
 * @throws commander's InvalidArgumentError
 */
export function moment(text: string, nowMs = Date.now()): number {
  const [, count, unit] = AGO.exec(text) ?? [];
  const ms =
    unit === undefined
      ? Date.parse(MOMENT.test(text) ? text : "")
      : nowMs - Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
  if (!Number.isSafeInteger(ms) || ms < 1_000_000_000_000)
    throw new InvalidArgumentError("a time such as 2026-11-26, 2026-11-26T08:00:00Z, 30m, 2h or 7d");
  return ms;
}
