import type { Gpu } from "../../../bus-schemas/node-record.ts";
import type { CommandOutput, ProbeHost } from "../probe.ts";
import { parseGpus } from "./csv.ts";
import { migInstances, parseMigList, parseMigMemory } from "./mig.ts";
import { parseProcesses, PROCESSES_ARGS } from "./processes.ts";
import { saysNoDevices, smiFailure, type Smi } from "./smi.ts";
import { StepError, type NvidiaStep, type StepReading } from "./step.ts";

/** MIG devices change only by an administrator's hand and `-q` is slow; who holds memory is no news by the second. Milliseconds. */
export const DETAILS_EVERY_MS = 30_000;

/** What nvidia-smi tells only when it is asked by other means than `--query-gpu`. */
export interface Details {
  atMs: number;
  processes: ReturnType<typeof parseProcesses> | undefined;
  mig: { listed: ReturnType<typeof parseMigList>; memory: ReturnType<typeof parseMigMemory> } | undefined;
  problems: string[];
}

/** One nvidia-smi for each reading. */
export function smiOnce(smi: Smi): NvidiaStep {
  let details: Details | undefined;
  return {
    name: "nvidia-smi --query-gpu",
    async read(host, signal) {
      let output: CommandOutput;
      do output = await smi.run(host, smi.queryArgs, signal);
      while (smi.learnFrom(output));
      const reading = readAnswer(output, smi, host);
      if (details === undefined || isOld(details, host.nowMs()))
        details = await askDetails(smi, host, reading.gpus, signal);
      return withDetails(reading, details);
    },
    release: () => Promise.resolve(),
  };
}

/** Also when the clock was set back. */
export function isOld({ atMs }: { atMs: number }, nowMs: number): boolean {
  return nowMs - atMs >= DETAILS_EVERY_MS || nowMs < atMs;
}

/** @throws StepError when there is nothing to read in it */
export function readAnswer(output: CommandOutput, smi: Smi, host: ProbeHost): StepReading {
  if (saysNoDevices(output)) return { gpus: [], problems: [] };
  const moment = { sampledAt: new Date(host.nowMs()).toISOString(), arch: host.arch };
  const { gpus, unreadable } = parseGpus(output.stdout, smi.query, moment);
  if (gpus.length === 0) throw new StepError("broken", smiFailure(output));
  if (output.code !== 0) return { gpus, problems: [smiFailure(output)] };
  return { gpus, problems: unreadable === 0 ? [] : [`nvidia-smi: ${unreadable} of its lines cannot be read`] };
}

/** Asks one after the other. Cards are reported even when this fails. */
export async function askDetails(
  smi: Smi,
  host: ProbeHost,
  gpus: readonly Gpu[],
  signal: AbortSignal,
): Promise<Details> {
  const details: Details = { atMs: host.nowMs(), processes: undefined, mig: undefined, problems: [] };
  if (gpus.length === 0) return details;
  try {
    // A driver that does not know the question has no answer, which is no fault.
    const apps = await smi.run(host, PROCESSES_ARGS, signal);
    if (apps.code === 0) details.processes = parseProcesses(apps.stdout);
  } catch (error) {
    details.problems.push(`processes unknown: ${(error as Error).message}`);
  }
  if (!gpus.some((gpu) => gpu.mig_mode === true)) return details;
  try {
    const list = await smi.run(host, ["-L"], signal);
    const full = await smi.run(host, ["-q"], signal);
    if (list.code !== 0 || full.code !== 0) throw new StepError("broken", smiFailure(list.code === 0 ? full : list));
    details.mig = { listed: parseMigList(list.stdout), memory: parseMigMemory(full.stdout) };
  } catch (error) {
    details.problems.push(`MIG devices unknown: ${(error as Error).message}`);
  }
  return details;
}

export function withDetails({ gpus, problems }: StepReading, details: Details): StepReading {
  for (const gpu of gpus) {
    const migs =
      gpu.mig_mode === true && details.mig !== undefined
        ? migInstances(gpu.uuid, details.mig.listed, details.mig.memory)
        : [];
    gpu.mig_instances = migs;
    if (details.processes === undefined || gpu.uuid === null) continue;
    const { processes } = details;
    // A process on a MIG device is listed under that device's UUID.
    gpu.processes = [gpu.uuid, ...migs.map(({ uuid }) => uuid)]
      .flatMap((uuid) => processes.get(uuid ?? "") ?? [])
      .slice(0, 64);
  }
  return { gpus, problems: [...problems, ...details.problems] };
}
