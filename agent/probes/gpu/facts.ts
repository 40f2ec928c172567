import { z } from "zod";
import { Gpu } from "../../../bus-schemas/node-record.ts";
import { Celsius, Count, Joules, Label, Ratio, Watts } from "../../../bus-schemas/units.ts";
import { pciAddress } from "../pci.ts";
import { roundTo, validOrNull } from "../probe.ts";

/** What a tool or sysfs says of one GPU, in our units but not yet checked. Left out or null = not known. */
export interface GpuFacts {
  index?: number | null;
  uuid?: unknown;
  name?: unknown;
  /** In any spelling. */
  address?: unknown;
  /** GB of 2^30 bytes. */
  totalGb?: number | null;
  usedGb?: number | null;
  /** 0 to 1. */
  utilization?: number | null;
  celsius?: number | null;
  watts?: number | null;
  limitWatts?: number | null;
  joules?: number | null;
  driverVersion?: unknown;
  unifiedMemory?: boolean;
  asleep?: boolean;
}

/** More memory than this on one card is a broken reading, GB. */
const MAX_VRAM_GB = 16_384;
const Vram = z.number().min(0).max(MAX_VRAM_GB);
const ShortText = z.string().trim().min(1);

/** One GPU of a node record: what cannot be true is unknown, never another number. `fallback` names it when nothing else does. */
export function gpuFrom(facts: GpuFacts, vendor: string, fallback: string, sampledAt: string): Gpu {
  const totalGb = validOrNull(Vram.gt(0), facts.totalGb);
  const usedGb = validOrNull(Vram, facts.usedGb);
  const freeGb = totalGb === null || usedGb === null || usedGb > totalGb ? null : totalGb - usedGb;
  return Gpu.parse({
    index: number(Count, facts.index),
    uuid: validOrNull(ShortText.max(100), facts.uuid),
    vendor,
    name: validOrNull(Label, validOrNull(ShortText, facts.name)) ?? fallback,
    vram_total_gb: number(Vram, totalGb),
    vram_free_gb: number(Vram, freeGb),
    utilization: number(Ratio, facts.utilization),
    temperature_celsius: number(Celsius, facts.celsius),
    power_watts: number(Watts, facts.watts),
    power_limit_watts: number(Watts, facts.limitWatts),
    energy_joules: number(Joules, facts.joules),
    driver_version: validOrNull(ShortText.max(60), facts.driverVersion),
    pci_address: pciAddress(facts.address),
    unified_memory: facts.unifiedMemory ?? null,
    asleep: facts.asleep ?? null,
    sampled_at: sampledAt,
  });
}

/** `known`, and what it does not know from `more`. */
export function completed(known: GpuFacts, more: GpuFacts | undefined): GpuFacts {
  const told = Object.entries(known).filter(([, value]) => value !== null && value !== undefined);
  return { ...more, ...Object.fromEntries(told) };
}

function number(schema: z.ZodType<number>, value: number | null | undefined): number | null {
  return validOrNull(schema, typeof value === "number" ? roundTo(value, 3) : null);
}

/** Units as tools spell them, lower case, and what one of them is in ours. The makers' MB and GB are powers of two. */
export const GB = {
  b: 2 ** -30,
  kb: 2 ** -20,
  kib: 2 ** -20,
  mb: 2 ** -10,
  mib: 2 ** -10,
  gb: 1,
  gib: 1,
};
export const RATIO = { "%": 0.01 };
export const WATTS = { w: 1, mw: 0.001 };
export const CELSIUS = { c: 1, "°c": 1 };

/**
 * A number with its unit, in our unit: `98W`, `"81920 MiB"`, `{ "value": 45, "unit": "C" }`. A bare number counts as `bare`, the unit
 * that its heading or its documentation gives. null = no number, or a unit that is not of this kind.
 */
export function amount(value: unknown, units: Readonly<Record<string, number>>, bare?: string): number | null {
  if (typeof value === "object" && value !== null && "value" in value) {
    return amount(value.value, units, "unit" in value && typeof value.unit === "string" ? value.unit : bare);
  }
  const [, digits, unit] = /^\s*(-?\d+(?:\.\d+)?)\s*([a-z%°]*)\s*$/i.exec(textOf(value)) ?? [];
  if (digits === undefined || unit === undefined) return null;
  const scale = units[(unit === "" ? (bare ?? "") : unit).toLowerCase()];
  return scale === undefined ? null : Number(digits) * scale;
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : typeof value === "number" ? String(value) : "";
}

/** A count such as a device's number. */
export function whole(value: unknown): number | null {
  return /^\s*\d{1,6}\s*$/.test(textOf(value)) ? Number(value) : null;
}
