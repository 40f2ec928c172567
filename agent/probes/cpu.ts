import { Count, Label, Ratio } from "../../bus-schemas/units.ts";
import { ProbeError, roundTo, validOrNull, type CoreTimes, type Probe } from "./probe.ts";

/** Utilisation is a difference; the first run has nothing to compare with and waits this long, milliseconds. */
const FIRST_SAMPLE_MS = 250;

/** Cores, model and the share of time that the cores were busy since the run before. */
export function createCpuProbe(): Probe {
  let before: BusyTime | undefined;
  return {
    name: "cpu",
    fills: "cpu",
    everyMs: 1000,
    timeoutMs: 5000,
    async probe(host, signal) {
      if (before === undefined) {
        before = busyTime(host.cores());
        await host.pause(FIRST_SAMPLE_MS, signal);
      }
      const cores = host.cores();
      if (cores.length === 0) throw new ProbeError("the operating system lists no CPU cores");
      const now = busyTime(cores);
      const utilization = share(before, now);
      before = now;
      return {
        values: {
          cpu_cores: validOrNull(Count, cores.length),
          cpu_model: validOrNull(Label, cores[0]?.model.trim().slice(0, 200)),
          cpu_utilization: utilization,
        },
        how: "os.cpus(): logical cores, and the share of their time that was not idle since the last look",
      };
    },
  };
}

interface BusyTime {
  cores: number;
  busyMs: number;
  totalMs: number;
}

function busyTime(cores: CoreTimes[]): BusyTime {
  let busyMs = 0;
  let idleMs = 0;
  for (const { times } of cores) {
    busyMs += times.user + times.nice + times.sys + times.irq;
    idleMs += times.idle;
  }
  return { cores: cores.length, busyMs, totalMs: busyMs + idleMs };
}

/** null when cores came or went in between, or the counters did not move or ran backwards (a resumed virtual machine). */
function share(before: BusyTime, now: BusyTime): number | null {
  const totalMs = now.totalMs - before.totalMs;
  if (before.cores !== now.cores || !(totalMs > 0)) return null;
  return validOrNull(Ratio, roundTo((now.busyMs - before.busyMs) / totalMs, 4));
}
