import childProcess from "node:child_process";
import { createRequire } from "node:module";
import { z } from "zod";
import type { Gpu } from "../../../bus-schemas/node-record.ts";
import { Celsius, Label, Ratio, Watts } from "../../../bus-schemas/units.ts";
import { isSingleExecutable } from "../../entries.ts";
import { roundTo, validOrNull, type ProbeHost } from "../probe.ts";
import { pciAddress } from "../pci.ts";
import { isUnified, known } from "./csv.ts";
import { gpuProcess } from "./processes.ts";
import { saysNoDevices, smiFailure, type Smi } from "./smi.ts";
import { MAX_PROCESSES, MAX_VRAM_GB, StepError, type NvidiaStep } from "./step.ts";
import { THROTTLE_REASONS } from "./throttle.ts";

type NodeNvidiaSmi = (callback: (error: unknown, data: unknown) => void) => void;
type Exec = (command: string, callback: (error: unknown, stdout: string, stderr: string) => void) => void;

/** The XML that the package gets when it "runs" nvidia-smi. */
let answer = "";
let loaded: NodeNvidiaSmi | undefined;

/**
 * node-nvidia-smi starts nvidia-smi by `exec`: without a time limit, through a shell, and out of reach of whoever wants to end it. It
 * takes `exec` from node:child_process when it is loaded; for that moment it finds one that hands over what our own runner read.
 */
function nodeNvidiaSmi(): NodeNvidiaSmi {
  if (loaded !== undefined) return loaded;
  if (isSingleExecutable) throw new StepError("absent", "node-nvidia-smi is no part of the single executable");
  const replay: Exec = (_command, callback) => callback(null, answer, "");
  const { exec } = childProcess;
  Object.assign(childProcess, { exec: replay });
  try {
    const require = createRequire(import.meta.url);
    loaded = require("node-nvidia-smi") as NodeNvidiaSmi;
    return loaded;
  } finally {
    Object.assign(childProcess, { exec });
  }
}

/** What node-nvidia-smi makes of the text of `nvidia-smi -q -x`. @throws StepError for what is no XML */
export function parseXml(xml: string): unknown {
  answer = xml.trim();
  // The parser of the package is synchronous, and calls back at once.
  let outcome: { error: unknown; data: unknown } = { error: "no answer", data: undefined };
  nodeNvidiaSmi()((error, data) => (outcome = { error, data }));
  answer = "";
  if (outcome.error !== null) throw new StepError("broken", "nvidia-smi -q -x wrote no XML");
  return outcome.data;
}

/** The last resort: the long report of nvidia-smi as XML, by the package node-nvidia-smi. */
export function smiXml(smi: Smi): NvidiaStep {
  return {
    name: "node-nvidia-smi (nvidia-smi -q -x)",
    async read(host, signal) {
      const output = await smi.run(host, ["-q", "-x"], signal);
      if (saysNoDevices(output)) return { gpus: [], problems: [] };
      if (!output.stdout.includes("<nvidia_smi_log")) throw new StepError("broken", smiFailure(output));
      const gpus = readLog(parseXml(output.stdout), host);
      if (gpus.length === 0) throw new StepError("broken", "nvidia-smi -q -x lists no GPU");
      return { gpus, problems: output.code === 0 ? [] : [smiFailure(output)] };
    },
    release: () => Promise.resolve(),
  };
}

/** The GPUs of a parsed report; what is unknown or impossible is null. Elements as of nvsmi_device_v10 to v13.dtd. */
export function readLog(data: unknown, { arch, nowMs }: Pick<ProbeHost, "arch" | "nowMs">): Gpu[] {
  const log = at(data, "nvidia_smi_log");
  const driver = text(log, "driver_version");
  const sampledAt = new Date(nowMs()).toISOString();
  return all(log, "gpu").map((gpu, index) => readGpu(gpu, index, driver, { arch, sampledAt }));
}

function readGpu(
  gpu: unknown,
  index: number,
  driver: string | null,
  { arch, sampledAt }: { arch: string; sampledAt: string },
): Gpu {
  const memory = at(gpu, "fb_memory_usage");
  const total = vramGb(text(memory, "total"));
  const free = vramGb(text(memory, "free"));
  const rawTotal = at(memory, "total");
  // Drivers before 525 have one block for power; since 555 the draw is an average and one of the moment.
  const power = [at(gpu, "gpu_power_readings"), at(gpu, "power_readings")];
  const watts = (...names: string[]) =>
    validOrNull(
      Watts,
      power.flatMap((block) => names.map((name) => number(text(block, name), "W"))).find(Number.isFinite),
    );
  const mig = text(at(gpu, "mig_mode"), "current_mig");
  return {
    index,
    uuid: validOrNull(z.string().min(1).max(100), text(gpu, "uuid")),
    vendor: "nvidia",
    name: validOrNull(Label, text(gpu, "product_name")) ?? "NVIDIA GPU",
    vram_total_gb: total === 0 ? null : total,
    vram_free_gb: free !== null && total !== null && free > total ? null : free,
    utilization: validOrNull(Ratio, number(text(at(gpu, "utilization"), "gpu_util"), "%") / 100),
    temperature_celsius: validOrNull(Celsius, number(text(at(gpu, "temperature"), "gpu_temp"), "C")),
    power_watts: watts("power_draw", "instant_power_draw", "average_power_draw"),
    power_limit_watts: watts("enforced_power_limit", "current_power_limit", "power_limit"),
    driver_version: validOrNull(z.string().max(60), driver),
    mig_mode: mig === "Enabled" ? true : mig === "Disabled" ? false : null,
    mig_instances: all(at(gpu, "mig_devices"), "mig_device")
      .slice(0, 64)
      // The report names neither UUID nor profile of a MIG device.
      .map((device) => ({
        uuid: null,
        profile: null,
        vram_total_gb: vramGb(text(at(device, "fb_memory_usage"), "total")),
      })),
    throttled: throttled(gpu),
    pci_address: pciAddress(text(at(gpu, "pci"), "pci_bus_id") ?? text(at(gpu, "$"), "id")),
    unified_memory:
      total !== null ? false : isUnified(typeof rawTotal === "string" ? rawTotal : "", arch) ? true : null,
    asleep: null,
    energy_joules: null,
    processes: processes(gpu),
    sampled_at: sampledAt,
    sick: null,
  };
}

function throttled(gpu: unknown): string[] | null {
  const reasons = at(gpu, "clocks_event_reasons") ?? at(gpu, "clocks_throttle_reasons");
  if (reasons === undefined) return null;
  const state = (reason: string) =>
    text(reasons, `clocks_event_reason_${reason}`) ?? text(reasons, `clocks_throttle_reason_${reason}`);
  if (THROTTLE_REASONS.every((reason) => state(reason) === null)) return null;
  return THROTTLE_REASONS.filter((reason) => state(reason) === "Active");
}

function processes(gpu: unknown): Gpu["processes"] {
  const list = at(gpu, "processes");
  if (list === undefined) return null;
  return all(list, "process_info")
    .flatMap((info) => gpuProcess(text(info, "pid") ?? undefined, text(info, "used_memory")) ?? [])
    .slice(0, MAX_PROCESSES);
}

function vramGb(memory: string | null): number | null {
  return validOrNull(z.number().min(0).max(MAX_VRAM_GB), roundTo(number(memory, "MiB") / 1024, 3));
}

/** NaN, which no schema takes, for what is no number with that unit. */
function number(value: string | null, unit: string): number {
  const [, digits, written] = /^(-?\d+(?:\.\d+)?) (\S+)$/.exec(value ?? "") ?? [];
  return written === unit ? Number(digits) : Number.NaN;
}

/** Child elements of that name, none, one or several. */
function all(parent: unknown, name: string): unknown[] {
  const found = at(parent, name);
  return found === undefined ? [] : Array.isArray(found) ? found : [found];
}

function at(parent: unknown, name: string): unknown {
  return typeof parent === "object" && parent !== null && Object.hasOwn(parent, name)
    ? (parent as Record<string, unknown>)[name]
    : undefined;
}

function text(parent: unknown, name: string): string | null {
  const value = at(parent, name);
  return typeof value === "string" ? known(value) : null;
}
