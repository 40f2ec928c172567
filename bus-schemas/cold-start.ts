import type { ServedModel } from "./node-record.ts";

/** A model that is not in memory is read from disk at this rate until the node has learned its own, GB per second (a SATA SSD). */
const ASSUMED_LOAD_GB_PER_SECOND = 0.5;
/** The slowest rate that is believed, GB per second: a disk that spins, busy. */
const LEAST_LOAD_GB_PER_SECOND = 0.01;
/** Size assumed for a model that is not loaded and does not say, GB: 7B parameters at 4 bits. */
const ASSUMED_SIZE_GB = 5;
/** Longest time that a message may carry (units.ts), milliseconds. */
const MAX_MS = 2_592_000_000;

/**
 * What it costs before the first token that the model is not in memory, milliseconds: its size over the node's load
 * rate. 0 for a model that is loaded, or whose runtime does not say.
 */
export function coldStartMs(model: Pick<ServedModel, "loaded" | "size_gb" | "load_gb_per_second">): number {
  if (model.loaded !== false) return 0;
  const rate = Math.max(model.load_gb_per_second ?? ASSUMED_LOAD_GB_PER_SECOND, LEAST_LOAD_GB_PER_SECOND);
  return Math.min(((model.size_gb ?? ASSUMED_SIZE_GB) / rate) * 1000, MAX_MS);
}
