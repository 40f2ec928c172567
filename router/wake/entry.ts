import type { NodeRecord, SleepEntry, WAKE_OUTCOMES, WakeUnderWay } from "../../bus-schemas/index.ts";

/** A machine whose time was never seen is guessed to be ready after this, seconds: what a PC takes from suspend-to-RAM, and its network. */
const GUESS_SECONDS = 20;
/** Of each wake's time this share goes into the learned one: the last few count. */
const LEARN = 0.3;
/** Jobs wake a machine that did not come up again after this time, twice as long after each failure, milliseconds. */
const BACK_OFF_MS = { first: 5 * 60_000, most: 24 * 3_600_000 };

export type WakeOutcome = (typeof WAKE_OUTCOMES)[number];

/** About how long until it takes jobs, milliseconds: from now, or of a wake that is under way what is left. */
export function readyInMs({ ready_in_seconds: learned, wake }: SleepEntry, nowMs: number): number {
  const passedMs = wake === null ? 0 : Math.max(0, nowMs - wake.asked_unix_ms);
  return Math.max(0, (learned ?? GUESS_SECONDS) * 1000 - passedMs);
}

/** It was told to sleep. */
export function fellAsleep(entry: SleepEntry, record: NodeRecord, nowMs: number): SleepEntry {
  return { ...entry, asleep: record, since_unix_ms: Math.round(nowMs) };
}

/** Somebody else woke it. */
export function wokeUp(entry: SleepEntry, nowMs: number): SleepEntry {
  return { ...entry, asleep: null, since_unix_ms: Math.round(nowMs) };
}

/** Whether a wake may be ordered: not while another is under way, and for jobs not before its time. */
export function mayWake(
  { asleep, not_before_unix_ms: from, wake }: SleepEntry,
  nowMs: number,
  forJob: boolean,
): boolean {
  if (asleep === null || (wake !== null && nowMs < wake.until_unix_ms)) return false;
  return !forJob || from === null || nowMs >= from;
}

/** The wake that is under way has ended. */
export function wakeEnded(
  entry: SleepEntry,
  wake: WakeUnderWay,
  { outcome, reason }: { outcome: WakeOutcome; reason: string | null },
  nowMs: number,
): SleepEntry {
  const limitMs = wake.until_unix_ms - wake.asked_unix_ms;
  // A clock that was set meanwhile must not teach nonsense.
  const after = outcome === "not_asked" ? 0 : Math.min(Math.max(0, nowMs - wake.asked_unix_ms), limitMs) / 1000;
  const ended = { ...entry, wake: null, last: { id: wake.id, outcome, after_seconds: after, reason } };
  const isUp = outcome === "ready" || outcome === "not_ready";
  const state = isUp ? wokeUp(ended, nowMs) : ended;
  if (outcome === "ready") {
    const before = entry.ready_in_seconds;
    const learned = before === null ? after : before + LEARN * (after - before);
    return { ...state, ready_in_seconds: learned, failures: 0, not_before_unix_ms: null };
  }
  const failures = Math.min(entry.failures + 1, 1_000_000);
  const pauseMs = Math.min(BACK_OFF_MS.first * 2 ** Math.min(failures - 1, 20), BACK_OFF_MS.most);
  return { ...state, failures, not_before_unix_ms: Math.round(nowMs + pauseMs) };
}

/** Whether a machine is there again as it was: it takes jobs, for a model that it served when it fell asleep. */
export function isReady(record: NodeRecord, { asleep }: SleepEntry): boolean {
  if (record.status !== "healthy" || record.sleep !== null) return false;
  const former = new Set(asleep?.models);
  return former.size === 0 || record.models.some((model) => former.has(model));
}
