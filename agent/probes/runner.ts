import { startLoop, type Loop } from "../../service/loop.ts";
import { ProbeError, type Probe, type ProbeHost, type Reading } from "./probe.ts";

/** What came of one run. `abandoned`: it is still going on after twice its time; `settled` tells when it ends after all. */
export type ProbeOutcome =
  | { type: "reading"; reading: Reading }
  | { type: "failed"; message: string }
  | { type: "abandoned"; message: string; settled: Promise<void> }
  | { type: "stopped" };

/** Runs one probe once. Never throws, and ends after twice the probe's time at the latest, or when `signal` aborts. */
export async function runProbe(probe: Probe, host: ProbeHost, signal: AbortSignal): Promise<ProbeOutcome> {
  const limit = new AbortController();
  const timers = [setTimeout(() => limit.abort(), probe.timeoutMs)];
  const ending = Promise.withResolvers<ProbeOutcome>();
  const onStop = () => ending.resolve({ type: "stopped" });
  if (signal.aborted) return { type: "stopped" };
  signal.addEventListener("abort", onStop, { once: true });
  const outcome = read(probe, host, AbortSignal.any([limit.signal, signal])).catch((error: unknown): ProbeOutcome => {
    const late = limit.signal.aborted && !(error instanceof ProbeError);
    return { type: "failed", message: late ? `took longer than ${probe.timeoutMs / 1000} s` : messageOf(error) };
  });
  const settled = outcome.then(() => undefined);
  const message = `did not end within ${(2 * probe.timeoutMs) / 1000} s; it is not started again until it does`;
  timers.push(setTimeout(() => ending.resolve({ type: "abandoned", message, settled }), 2 * probe.timeoutMs));
  try {
    return await Promise.race([outcome, ending.promise]);
  } finally {
    for (const timer of timers) clearTimeout(timer);
    signal.removeEventListener("abort", onStop);
  }
}

async function read(probe: Probe, host: ProbeHost, signal: AbortSignal): Promise<ProbeOutcome> {
  return { type: "reading", reading: await probe.probe(host, signal) };
}

/** System errors by code only: their messages hold paths of this machine's users. */
function messageOf(error: unknown): string {
  if (error instanceof ProbeError) return error.message;
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return code === undefined ? "failed unexpectedly" : `failed with ${code}`;
}

export interface ProbeLoopEvents {
  onReading(probe: Probe, reading: Reading): void;
  onFailure(probe: Probe, message: string): void;
}

/** Since its user last touched it, a machine is left alone after so long, seconds. */
const CALM_AFTER_SECONDS = 300;
/** With more to do than this share of its processors or of a GPU a machine is at work. */
const AT_WORK = 0.1;

/** Whether the machine is calm: its user is away and it works on nothing, by what the probes said last. Unknown is not calm. */
function calmness() {
  const last = new Map<Probe, Reading["values"]>();
  return {
    heard: (probe: Probe, { values }: Reading) => void last.set(probe, values),
    isCalm: (): boolean => {
      let away = false;
      let cpuIdle = false;
      for (const { user_idle_seconds: idle, cpu_utilization: cpu, gpus = [] } of last.values()) {
        if ((idle ?? 0) >= CALM_AFTER_SECONDS) away = true;
        if (cpu !== undefined && cpu !== null && cpu < AT_WORK) cpuIdle = true;
        if (gpus.some(({ utilization }) => (utilization ?? 0) >= AT_WORK)) return false;
      }
      return away && cpuIdle;
    },
  };
}

/**
 * Runs each probe on its own cadence (slower where the probe wants so while the machine is calm), never twice at once: a probe that was abandoned is left out until its run has ended.
 * What an abandoned run finds in the end is dropped, for it is old.
 */
export function startProbeLoops(
  probes: readonly Probe[],
  host: ProbeHost,
  events: ProbeLoopEvents,
  signal: AbortSignal,
): Loop[] {
  const { heard, isCalm } = calmness();
  return probes.map((probe) => {
    let abandoned = false;
    let endedAtMs = Number.NEGATIVE_INFINITY;
    const early = () => {
      const pausedMs = host.nowMs() - endedAtMs;
      return pausedMs >= 0 && pausedMs < (probe.idleEveryMs ?? 0) && isCalm();
    };
    const onError = () => events.onFailure(probe, "failed unexpectedly");
    const options = { name: `probe-${probe.name}`, everyMs: probe.everyMs, onError };
    return startLoop(
      options,
      async (stop) => {
        if (abandoned || early()) return;
        const outcome = await runProbe(probe, host, stop);
        endedAtMs = host.nowMs();
        if (outcome.type === "reading") {
          heard(probe, outcome.reading);
          events.onReading(probe, outcome.reading);
        } else if (outcome.type !== "stopped") events.onFailure(probe, outcome.message);
        if (outcome.type !== "abandoned") return;
        abandoned = true;
        void outcome.settled.then(() => (abandoned = false));
      },
      signal,
    );
  });
}
