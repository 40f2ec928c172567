import { parseWindow, type TimeWindow } from "./schedule.ts";
import { METERED, type CompanyLimits, type Limits } from "./settings.ts";

/** The limits in force. */
export interface EffectiveLimits extends Omit<Limits, "schedule"> {
  /** Each list with a window in it must have one that is open. */
  schedules: readonly (readonly TimeWindow[])[];
}

type Stricter = { [F in Exclude<keyof Limits, "schedule">]: (one: Limits[F], other: Limits[F]) => Limits[F] };

const lower = (one: number | null, other: number | null) => least(one, other, Math.min);
const higher = (one: number | null, other: number | null) => least(one, other, Math.max);

/** null is no limit, so the other one counts. */
function least(one: number | null, other: number | null, pick: (a: number, b: number) => number): number | null {
  if (one === null || other === null) return one ?? other;
  return pick(one, other);
}

/** The stricter of two values of each limit. A schedule is not here: of two both count. */
const STRICTER: Stricter = {
  max_slots: lower,
  on_battery: (one, other) => one && other,
  min_battery_percent: higher,
  user_active: (one, other) => one && other,
  user_idle_seconds: Math.max,
  unknown_idle: (one, other) => (one === "active" ? one : other),
  max_gpu_temp_c: lower,
  max_cpu_temp_c: lower,
  max_other_cpu_percent: lower,
  other_cpu_back_percent: lower,
  exclusive_apps: (one, other) => [...new Set([...one, ...other])],
  reserved_vram_gb: Math.max,
  metered: (one, other) => (METERED.indexOf(one) > METERED.indexOf(other) ? one : other),
  suspend: (one, other) => (one === "hand-back" ? one : other),
  close_after_seconds: Math.min,
  open_after_seconds: Math.max,
};

/** The limits of this machine, none of them looser than its company's: field by field the strictest. */
export function strictest(local: Limits, ...companies: readonly CompanyLimits[]): EffectiveLimits {
  const { schedule, ...limits } = withBack(local);
  for (const company of companies.map(withBack))
    for (const field of Object.keys(STRICTER) as (keyof Stricter)[]) tighten(limits, field, company);
  const schedules = [schedule, ...companies.map((company) => company.schedule ?? [])].filter(
    ({ length }) => length > 0,
  );
  return { ...limits, schedules: schedules.map((windows) => windows.flatMap((text) => parseWindow(text) ?? [])) };
}

/** Half of the share at which it stops is a limit too, though nobody wrote it. */
function withBack<T extends CompanyLimits>(limits: T): T {
  const { max_other_cpu_percent: max, other_cpu_back_percent: back } = limits;
  return (back ?? null) !== null || (max ?? null) === null
    ? limits
    : { ...limits, other_cpu_back_percent: (max ?? 0) / 2 };
}

function tighten<F extends keyof Stricter>(limits: Omit<Limits, "schedule">, field: F, company: CompanyLimits): void {
  const theirs = company[field] as Limits[F] | undefined;
  if (theirs !== undefined) limits[field] = STRICTER[field](limits[field] as Limits[F], theirs);
}

/** The limits that somebody at the machine wrote looser than the company's, which changes nothing. */
export function loosened(said: CompanyLimits, company: CompanyLimits): (keyof Stricter)[] {
  return (Object.keys(STRICTER) as (keyof Stricter)[]).filter((field) => isLooser(field, said, company));
}

function isLooser<F extends keyof Stricter>(field: F, said: CompanyLimits, company: CompanyLimits): boolean {
  const [ours, theirs] = [said[field] as Limits[F] | undefined, company[field] as Limits[F] | undefined];
  // A list that names other programs loosens nothing: all of both count.
  if (ours === undefined || theirs === undefined || field === "exclusive_apps") return false;
  return STRICTER[field](ours, theirs) !== ours;
}
