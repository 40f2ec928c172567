import type { Hardware, ServedModel } from "../../bus-schemas/index.ts";

/** Memory that a loaded model takes beside its weights, as a share of them: its KV cache and buffers. Measured by nobody; a guess. */
const OVERHEAD = 0.1;

/**
 * Why a model does not fit into what is free now, by the device's own word; undefined also where nobody knows its size or the room.
 * @param reservedGb of the GPU's memory, must stay free
 */
export function lacks(
  { size_gb: sizeGb }: Pick<ServedModel, "size_gb">,
  { gpus, memory_free_gb: memoryGb }: Pick<Hardware, "gpus" | "memory_free_gb">,
  reservedGb: number,
): string | undefined {
  if (sizeGb === null) return undefined;
  const own = gpus.filter((gpu) => gpu.unified_memory !== true && gpu.sick === null);
  const free = own.map((gpu) => gpu.vram_free_gb);
  const allGb =
    own.length === 0 ? memoryGb : free.includes(null) ? null : free.reduce<number>((sum, gb) => sum + (gb ?? 0), 0);
  // Without a GPU there is no memory of one to keep free.
  const keptGb = gpus.length === 0 ? 0 : reservedGb;
  const needGb = sizeGb * (1 + OVERHEAD);
  if (allGb === null || needGb <= allGb - keptGb) return undefined;
  // In whole gigabytes: what is free changes by the second, and the line is written once.
  const kept = keptGb === 0 ? "" : `, of which ${keptGb} must stay free`;
  return `it needs about ${Math.ceil(needGb)} GB and ${Math.floor(allGb)} GB are free${kept}`;
}
