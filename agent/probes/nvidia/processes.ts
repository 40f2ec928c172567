import { z } from "zod";
import type { Gpu } from "../../../bus-schemas/node-record.ts";
import { Gb } from "../../../bus-schemas/units.ts";
import { roundTo, validOrNull } from "../probe.ts";
import { known } from "./csv.ts";
import { MAX_PROCESSES } from "./step.ts";

type GpuProcess = NonNullable<Gpu["processes"]>[number];

/**
 * What `nvidia-smi` is asked for; names of programs and their users are nobody's business. It lists compute processes only
 * (documented by `nvidia-smi --help-query-compute-apps`); NVML and `-q -x` know those that draw as well.
 */
export const PROCESSES_ARGS = ["--query-compute-apps=gpu_uuid,pid,used_gpu_memory", "--format=csv,noheader,nounits"];

const Pid = z
  .number()
  .int()
  .min(0)
  .max(2 ** 32 - 1);

/** Reads the answer: processes by the UUID of their card. Lines that are none are skipped. */
export function parseProcesses(csv: string): Map<string, GpuProcess[]> {
  const cards = new Map<string, GpuProcess[]>();
  for (const line of csv.split(/\r?\n/)) {
    const [uuid, pid, mib] = line.split(",").map((cell) => cell.trim());
    const card = known(uuid);
    if (card === null || !/^(GPU|MIG)-/.test(card) || mib === undefined) continue;
    const processes = cards.get(card) ?? [];
    cards.set(card, processes);
    const process = gpuProcess(pid, known(mib));
    if (process !== undefined && processes.length < MAX_PROCESSES) processes.push(process);
  }
  return cards;
}

/** `mib`: memory as nvidia-smi writes it, with or without its unit; null = not told (Windows, without rights). */
export function gpuProcess(pid: string | undefined, mib: string | null): GpuProcess | undefined {
  const id = validOrNull(Pid, /^\d{1,10}$/.test(pid ?? "") ? Number(pid) : null);
  if (id === null) return undefined;
  const digits = /^(\d{1,9})(?: ?MiB)?$/.exec(mib ?? "")?.[1];
  return { pid: id, vram_gb: digits === undefined ? null : validOrNull(Gb, roundTo(Number(digits) / 1024, 3)) };
}
