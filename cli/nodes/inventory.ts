import type { NodeEntry } from "../../bus-schemas/index.ts";
import type { SeenNode } from "../../client/index.ts";
import { isAsking } from "../bus/asks.ts";
import { labelsShown } from "../format/node.ts";

/** One machine, for a list of what a company has. What nobody knows is null. */
export interface InventoryItem {
  node_id: string;
  name: string | null;
  layer: string;
  /** Whether it may speak: joined, pending, asks, revoked; `local` = the bus's own machine. */
  admitted: string;
  admitted_at: string | null;
  /** As `tiermesh nodes` shows it; null = no heartbeat was heard. */
  state: string | null;
  hostname: string | null;
  platform: string | null;
  arch: string | null;
  cpu_model: string | null;
  cpu_cores: number | null;
  memory_gb: number | null;
  gpus: string[];
  gpu_memory_gb: number | null;
  gpu_drivers: string[];
  sick_gpus: string[];
  runtimes: string[];
  models: string[];
  profile: string | null;
  labels: Readonly<Record<string, string>>;
  agent_version: string | null;
  uptime_hours: number | null;
}

/** Every machine that was ever let in or asks, and every one that is heard, by id. */
export function inventory(entries: readonly NodeEntry[], seen: readonly SeenNode[]): InventoryItem[] {
  const heard = new Map(seen.map((node) => [node.record.node_id, node]));
  const known = new Map(entries.map((entry) => [entry.node_id, entry]));
  const ids = [...new Set([...known.keys(), ...heard.keys()])].toSorted();
  return ids.map((id) => item(id, known.get(id), heard.get(id)));
}

function item(node_id: string, entry: NodeEntry | undefined, seen: SeenNode | undefined): InventoryItem {
  const record = seen?.record;
  const hardware = record?.hardware;
  const gpus = hardware?.gpus ?? [];
  const memory = gpus.map(({ vram_total_gb: gb }) => gb);
  return {
    node_id,
    name: record?.name ?? null,
    layer: record?.layer ?? entry?.layer ?? "",
    admitted: entry === undefined ? "local" : isAsking(entry) ? "asks" : entry.state,
    admitted_at: entry === undefined ? null : new Date(entry.changed_unix_ms).toISOString(),
    state: seen?.state ?? null,
    hostname: record?.hostname ?? entry?.hostname ?? null,
    platform: hardware?.platform ?? null,
    arch: hardware?.arch ?? null,
    cpu_model: hardware?.cpu_model ?? null,
    cpu_cores: hardware?.cpu_cores ?? null,
    memory_gb: hardware?.memory_gb ?? null,
    gpus: gpus.map(({ name }) => name),
    gpu_memory_gb:
      gpus.length === 0 || memory.includes(null) ? null : memory.reduce<number>((sum, gb) => sum + (gb ?? 0), 0),
    gpu_drivers: [...new Set(gpus.flatMap(({ driver_version: version }) => version ?? []))],
    sick_gpus: gpus.flatMap(({ name, sick }) => (sick === null ? [] : `${name}: ${sick}`)),
    runtimes: (record?.runtimes ?? []).map(({ name, version }) => (version === null ? name : `${name} ${version}`)),
    models: record?.models ?? [],
    profile: record?.profile ?? null,
    labels: record?.labels ?? {},
    agent_version: record?.version ?? null,
    uptime_hours: record?.performance.uptime_hours ?? null,
  };
}

/** As rows of a table, the first the heading; lists are joined by semicolons. */
export function inventoryRows(items: readonly InventoryItem[]): (string | number | null)[][] {
  const heading = Object.keys(item("", undefined, undefined)) as (keyof InventoryItem)[];
  return [heading, ...items.map((one) => heading.map((field) => flat(one[field])))];
}

function flat(value: InventoryItem[keyof InventoryItem]): string | number | null {
  if (Array.isArray(value)) return value.join("; ");
  return typeof value === "object" && value !== null
    ? labelsShown(value as Record<string, string>)
    : (value as string | number | null);
}
