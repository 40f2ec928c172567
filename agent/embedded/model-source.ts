import { stat } from "node:fs/promises";
import type { PinnedModel } from "./pinned-model.ts";

/** A place that may have the model. */
export interface ModelSource {
  readonly name: string;
  /**
   * Fills `partPath`, going on from what is there already where the source can.
   * Throws with a short reason when it cannot; what it wrote stays for the next source or the next time.
   */
  fetch(
    model: PinnedModel,
    partPath: string,
    onBytes: (receivedBytes: number) => void,
    signal?: AbortSignal,
  ): Promise<void>;
}

/** Size of a file in bytes, 0 when there is none. */
export async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch {
    return 0;
  }
}
