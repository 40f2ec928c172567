import { z } from "zod";
import { Label } from "../../../bus-schemas/units.ts";
import type { Gpu } from "../../../bus-schemas/node-record.ts";
import { roundTo, validOrNull } from "../probe.ts";

type MigInstance = Gpu["mig_instances"][number];

/** `index` is the number of the MIG device on its card, which joins `-L` (UUID, profile) with `-q` (memory). */
export interface ListedMig extends MigInstance {
  index: number;
}

/** Most MIG devices that a node record takes for one card; NVIDIA's cards have at most 7. */
const MAX_INSTANCES = 64;
const Uuid = z.string().min(1).max(100);
const MigMemory = z.number().positive().max(16_384);

/** Reads `nvidia-smi -L`: the MIG devices of each card, by the card's UUID. Lines that it does not know are skipped. */
export function parseMigList(text: string): Map<string, ListedMig[]> {
  const cards = new Map<string, ListedMig[]>();
  let current: ListedMig[] | undefined;
  for (const line of text.split(/\r?\n/)) {
    if (/^GPU \d/.test(line)) {
      const card = /\(UUID:\s*(GPU-[^)\s]+)\)/.exec(line)?.[1];
      current = [];
      if (card !== undefined) cards.set(card, current);
      continue;
    }
    const [, profile, index, uuid] = /^\s+MIG\s+(\S+)\s+Device\s+(\d{1,4}):\s*\(UUID:\s*([^)]*)\)/.exec(line) ?? [];
    if (current === undefined || index === undefined || current.length >= MAX_INSTANCES) continue;
    current.push({
      index: Number(index),
      uuid: validOrNull(Uuid, uuid?.trim()),
      profile: validOrNull(Label, profile),
      vram_total_gb: null,
    });
  }
  return cards;
}

/**
 * Reads the MIG devices' memory from `nvidia-smi -q`: GB by MIG device index, by the card's UUID. `--query-gpu` does not tell it,
 * and the profile's name rounds up (`1g.18gb` has 16 GB). Compute instances of one GPU instance share its memory; each reports the whole.
 */
export function parseMigMemory(text: string): Map<string, Map<number, number>> {
  const cards = new Map<string, Map<number, number>>();
  for (const card of text.split(/^GPU [0-9A-Fa-f]{8}:/m).slice(1)) {
    const uuid = /^ +GPU UUID +: (GPU-\S+)\s*$/m.exec(card)?.[1];
    if (uuid === undefined) continue;
    const memory = new Map<number, number>();
    for (const section of card.split(/^ {4}MIG Device\s*$/m).slice(1)) {
      // The card's own memory, one level further out, follows the last device.
      const device = section.split(/^ {1,4}\S/m)[0] ?? "";
      const index = /^ +Index +: (\d{1,4})\s*$/m.exec(device)?.[1];
      const mib = /FB Memory Usage\s*\n +Total +: (\d{1,9}) MiB/.exec(device)?.[1];
      const gb = mib === undefined ? null : validOrNull(MigMemory, roundTo(Number(mib) / 1024, 3));
      if (index !== undefined && gb !== null) memory.set(Number(index), gb);
    }
    cards.set(uuid, memory);
  }
  return cards;
}

/** The MIG devices of the card with `uuid`, as the node record carries them. */
export function migInstances(
  uuid: string | null,
  listed: ReturnType<typeof parseMigList>,
  memory: ReturnType<typeof parseMigMemory>,
): MigInstance[] {
  if (uuid === null) return [];
  const cardMemory = memory.get(uuid);
  return (listed.get(uuid) ?? []).map(({ index, ...device }) => ({
    ...device,
    vram_total_gb: cardMemory?.get(index) ?? null,
  }));
}
