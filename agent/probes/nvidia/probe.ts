import type { Gpu } from "../../../bus-schemas/node-record.ts";
import { Gb } from "../../../bus-schemas/units.ts";
import { gbFromBytes, ProbeError, validOrNull, type Probe, type ProbeHost, type Reading } from "../probe.ts";
import { nvmlStep } from "./nvml.ts";
import { lookOnBus } from "./on-bus.ts";
import { smiOnce } from "./smi-once.ts";
import { smiStream } from "./smi-stream.ts";
import { smiXml } from "./smi-xml.ts";
import { COMMAND_TIMEOUT_MS, Smi } from "./smi.ts";
import { StepError, type NvidiaStep, type StepReading } from "./step.ts";

/** A way that is not there is tried again this often, milliseconds: somebody may install a driver. */
const SEARCH_AGAIN_MS = 60_000;
/** A way that had no answer is tried again this often, milliseconds. */
const RETRY_MS = 10_000;
/** A GPU that nobody uses and that may sleep is left alone for so long, milliseconds. */
const REST_MS = 60_000;
/** Most GPUs that a node record carries. */
const MAX_GPUS = 64;

export interface NvidiaProbeOptions {
  /** Of one call or one command. */
  timeoutMs?: number;
  /** Other ways than the four, only in tests. */
  steps?: (smi: Smi) => NvidiaStep[];
}

/** Best first: the library costs the least and knows the most. */
const STEPS = (smi: Smi): NvidiaStep[] => [
  nvmlStep({ timeoutMs: smi.timeoutMs }),
  smiStream(smi),
  smiOnce(smi),
  smiXml(smi),
];

interface Failed {
  error: StepError;
  atMs: number;
}

/**
 * NVIDIA cards on Linux (WSL too) and Windows: by NVML, else by one long-lived nvidia-smi, else by one for each reading, else by
 * node-nvidia-smi. No driver, or no card: []. Cards that all sleep are not woken.
 */
export function createNvidiaProbe({
  timeoutMs = COMMAND_TIMEOUT_MS,
  steps: create = STEPS,
}: NvidiaProbeOptions = {}): Probe {
  const steps = create(new Smi(timeoutMs));
  const failed = new Map<NvidiaStep, Failed>();
  let resting: { untilMs: number; reading: Reading } | undefined;
  let lastSeen: Gpu[] = [];

  /** The first way that has an answer. @throws StepError when something hangs */
  const ask = async (
    host: ProbeHost,
    signal: AbortSignal,
  ): Promise<{ reading: StepReading; by: NvidiaStep } | undefined> => {
    for (const step of steps) {
      const before = failed.get(step);
      if (before !== undefined && !isDue(before, host.nowMs())) {
        if (before.error.failure === "hung") throw before.error;
        continue;
      }
      try {
        const reading = await step.read(host, signal);
        failed.delete(step);
        for (const other of steps) if (other !== step) await other.release();
        return { reading, by: step };
      } catch (error) {
        if (!(error instanceof StepError)) throw error;
        failed.set(step, { error, atMs: host.nowMs() });
        if (error.failure === "hung") throw error;
      }
    }
    return undefined;
  };

  /** Why the ways before `by` have no answer; those with the same reason together. */
  const why = (by?: NvidiaStep) => {
    const names = new Map<string, string[]>();
    for (const step of by === undefined ? steps : steps.slice(0, steps.indexOf(by))) {
      const reason = failed.get(step)?.error.message;
      if (reason !== undefined) names.set(reason, [...(names.get(reason) ?? []), step.name]);
    }
    return Array.from(names, ([reason, ways]) => `${ways.join(", ")}: ${reason}`).join("; ");
  };

  return {
    name: "nvidia",
    fills: "gpus",
    everyMs: 2000,
    timeoutMs: 3 * timeoutMs,
    async probe(host, signal) {
      if (host.platform !== "linux" && host.platform !== "win32")
        return { values: { gpus: [] }, how: "NVIDIA's driver is on Linux and Windows only" };
      const { onBus, asleep } = await lookOnBus(host, lastSeen);
      if (onBus === "none") return { values: { gpus: [] }, how: "no NVIDIA GPU on the PCI bus" };
      if (onBus === "asleep") {
        resting = undefined;
        for (const step of steps) await step.release();
        return {
          values: { gpus: asleep },
          how: "sysfs: every NVIDIA GPU sleeps, none was woken",
        };
      }
      const nowMs = host.nowMs();
      if (resting !== undefined && nowMs < resting.untilMs && nowMs > resting.untilMs - REST_MS) return resting.reading;
      const found = await ask(host, signal);
      if (found === undefined) {
        if ([...failed.values()].some(({ error }) => error.failure !== "absent")) throw new ProbeError(why());
        return { values: { gpus: [] }, how: `no NVIDIA driver here (${why()})` };
      }
      const { by, reading } = found;
      lastSeen = await withSystemMemory(reading.gpus.slice(0, MAX_GPUS), host);
      const told = toReading(by, reading, why(by), lastSeen);
      resting = undefined;
      if (onBus === "may_sleep" && reading.gpus.every(isIdle)) {
        // A driver that is held open, or asked again and again, keeps a laptop's GPU awake for ever.
        await by.release();
        const how = `${told.how}; then left alone for ${REST_MS / 1000} s, so that it may sleep`;
        resting = { untilMs: nowMs + REST_MS, reading: { ...told, how } };
      }
      return told;
    },
  };
}

function isIdle({ utilization, processes }: Gpu): boolean {
  return (utilization ?? 0) === 0 && (processes ?? []).length === 0;
}

function isDue({ error, atMs }: Failed, nowMs: number): boolean {
  return nowMs - atMs >= (error.failure === "absent" ? SEARCH_AGAIN_MS : RETRY_MS) || nowMs < atMs;
}

function toReading(
  by: NvidiaStep,
  { gpus: all, problems, faults = [] }: StepReading,
  why: string,
  gpus: Gpu[],
): Reading {
  const tooMany = all.length > gpus.length ? [`${all.length} GPUs are listed; the first ${MAX_GPUS} are reported`] : [];
  const said = [...problems, ...tooMany];
  const how = [
    all.length === 0 ? `${by.name} found no NVIDIA GPU` : by.name,
    ...(why === "" ? [] : [`not by ${why}`]),
  ].join("; ");
  return { values: { gpus }, how, ...(said.length === 0 ? {} : { problem: said.join("; ") }), faults };
}

/** A GPU without memory of its own has the machine's: what programs can still get of it. */
async function withSystemMemory(gpus: Gpu[], host: ProbeHost): Promise<Gpu[]> {
  if (!gpus.some((gpu) => gpu.unified_memory === true)) return gpus;
  const { totalBytes, availableBytes } = await host.memory();
  const [total, free] = [totalBytes, availableBytes].map((bytes) => validOrNull(Gb, gbFromBytes(bytes)));
  return gpus.map((gpu) =>
    gpu.unified_memory === true ? { ...gpu, vram_total_gb: total ?? null, vram_free_gb: free ?? null } : gpu,
  );
}
