import { z } from "zod";
import type { Gpu } from "../../../bus-schemas/node-record.ts";
import { Celsius, Count, Label, Ratio, Watts } from "../../../bus-schemas/units.ts";
import { roundTo, validOrNull } from "../probe.ts";
import { pciAddress } from "../pci.ts";
import { MAX_VRAM_GB } from "./step.ts";
import { throttleReasons } from "./throttle.ts";

/**
 * What is asked of `nvidia-smi --query-gpu` (documented by `nvidia-smi --help-query-gpu`). `older` is the same fact's name in older drivers.
 * The name is asked last: it is the one text that could hold a comma, and a row without it was cut off.
 */
export const QUERY_FIELDS = [
  { field: "index" },
  { field: "uuid" },
  { field: "driver_version" },
  { field: "pci.bus_id", older: "gpu_bus_id" },
  { field: "memory.total" },
  { field: "memory.free" },
  { field: "utilization.gpu" },
  { field: "temperature.gpu" },
  { field: "power.draw" },
  { field: "enforced.power.limit", older: "power.limit" },
  { field: "mig.mode.current" },
  // Drivers before 535 say "throttle" for "event".
  { field: "clocks_event_reasons.active", older: "clocks_throttle_reasons.active" },
  { field: "name", older: "gpu_name" },
] as const;

type QueryField = (typeof QUERY_FIELDS)[number]["field"];

/** A question that this driver understands: each fact with the name under which this driver knows it, `name` last. */
export type Query = readonly { fact: QueryField; ask: string }[];

export const FULL_QUERY: Query = QUERY_FIELDS.map(({ field }) => ({ fact: field, ask: field }));

const Uuid = z.string().regex(/^GPU-[0-9A-Za-z-]{1,90}$/);
const Vram = z.number().min(0).max(MAX_VRAM_GB);

/**
 * The name of the field that this driver does not know, from what it says on standard output with exit code 2:
 * `Field "x" is not a valid field to query.`
 */
export function unknownField(output: string): string | undefined {
  return /Field "([^"]+)" is not a valid field to query/.exec(output)?.[1];
}

/** `query` without the field that the driver refused, or with its older name. undefined: without it there is no answer to read. */
export function withoutField(query: Query, refused: string): Query | undefined {
  const at = query.findIndex(({ ask }) => ask === refused);
  const entry = query[at];
  if (entry === undefined) return undefined;
  const known = QUERY_FIELDS.find(({ field }) => field === entry.fact);
  const older = known !== undefined && "older" in known && known.older !== refused ? known.older : undefined;
  if (older !== undefined) return query.with(at, { fact: entry.fact, ask: older });
  return entry.fact === "name" ? undefined : query.toSpliced(at, 1);
}

export interface ParsedGpus {
  gpus: Gpu[];
  /** Non-empty lines that are no row of the answer. */
  unreadable: number;
}

export interface Moment {
  sampledAt: string;
  /** Of the machine, as Node names it. */
  arch: string;
}

/** Reads the answer to `query` in `csv,noheader,nounits`. Never throws; what is unknown or impossible is null. */
export function parseGpus(csv: string, query: Query, { sampledAt, arch }: Moment): ParsedGpus {
  const gpus: Gpu[] = [];
  let unreadable = 0;
  for (const line of csv.split(/\r?\n/)) {
    if (line.trim() === "") continue;
    const cells = line.split(",").map((cell) => cell.trim());
    const gpu = cells.length < query.length ? undefined : readGpu(cells, query, { sampledAt, arch });
    if (gpu === undefined) unreadable++;
    else gpus.push(gpu);
  }
  return { gpus, unreadable };
}

function readGpu(cells: string[], query: Query, { sampledAt, arch }: Moment): Gpu | undefined {
  const raw = (fact: QueryField): string | undefined => {
    const at = query.findIndex((entry) => entry.fact === fact);
    return at !== -1 && at === query.length - 1 ? cells.slice(at).join(", ") : cells[at];
  };
  const text = (fact: QueryField): string | null => known(raw(fact));
  const read = (fact: QueryField, schema: z.ZodType<number>, scale = 1) =>
    validOrNull(schema, scaled(text(fact), scale));
  const uuid = validOrNull(Uuid, text("uuid"));
  const index = read("index", Count);
  // A row that names no device at all is not a row of ours.
  if (index === null && uuid === null) return undefined;
  const totalGb = read("memory.total", Vram, 1 / 1024);
  const freeGb = read("memory.free", Vram, 1 / 1024);
  const total = totalGb === 0 ? null : totalGb;
  return {
    index,
    uuid,
    vendor: "nvidia",
    // A card in a bad state answers "[Unknown Error]" even here; it is listed all the same, so that people see it.
    name: validOrNull(Label, text("name")) ?? "NVIDIA GPU",
    vram_total_gb: total,
    vram_free_gb: freeGb !== null && total !== null && freeGb > total ? null : freeGb,
    utilization: read("utilization.gpu", Ratio, 1 / 100),
    temperature_celsius: read("temperature.gpu", Celsius),
    power_watts: read("power.draw", Watts),
    power_limit_watts: read("enforced.power.limit", Watts),
    driver_version: validOrNull(z.string().max(60), text("driver_version")),
    mig_mode: migMode(text("mig.mode.current")),
    mig_instances: [],
    throttled: throttled(text("clocks_event_reasons.active")),
    pci_address: pciAddress(text("pci.bus_id")),
    unified_memory: total !== null ? false : isUnified(raw("memory.total"), arch) ? true : null,
    asleep: null,
    energy_joules: null,
    processes: null,
    sampled_at: sampledAt,
    sick: null,
  };
}

/**
 * null for every way in which nvidia-smi says that it does not know: `N/A`, `ERR!`, `Not Supported`, and everything in square brackets
 * (`[N/A]`, `[Not Supported]`, `[Unknown Error]`, `[GPU requires reset]`, `[Insufficient Permissions]`, `[Requested functionality has been deprecated]`).
 */
export function known(cell: string | undefined): string | null {
  const text = (cell ?? "").trim();
  if (text === "" || /^\[.*\]$/.test(text)) return null;
  return /^(n\/a|err!?|error|not supported|unknown|unknown error|not available|insufficient permissions|gpu requires reset|gpu is lost)$/i.test(
    text,
  )
    ? null
    : text;
}

/** A number, also with the unit that `nounits` should have removed. NaN, which no schema takes, for anything else. */
function scaled(text: string | null, scale: number): number {
  const digits = /^(-?\d+(?:\.\d+)?)(?: ?(?:MiB|%|W|C))?$/.exec(text ?? "")?.[1];
  return digits === undefined ? Number.NaN : roundTo(Number(digits) * scale, 3);
}

/**
 * Where the GPU has no memory of its own (GB10, Jetson) the driver knows no "frame buffer" and answers that it is not supported; all of
 * them are 64-bit Arm. Elsewhere the same words are a card whose driver does not know.
 */
export function isUnified(total: string | undefined, arch: string): boolean {
  return arch === "arm64" && /^\[?(n\/a|not supported)\]?$/i.test(total ?? "");
}

function migMode(text: string | null): boolean | null {
  return text === "Enabled" ? true : text === "Disabled" ? false : null;
}

/** [] = runs unhindered; null = unknown. */
function throttled(mask: string | null): string[] | null {
  return mask === null || !/^0x[0-9a-f]{1,16}$/i.test(mask) ? null : throttleReasons(BigInt(mask));
}
