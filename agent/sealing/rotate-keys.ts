import type { Log } from "../../service/log.ts";
import { startLoop } from "../../service/loop.ts";
import type { NodeKeys } from "./node-keys.ts";

/** How often it is looked whether the key for sealed jobs is due, milliseconds: within these bounds a hundredth of its time. */
const LOOK_MS = { least: 500, most: 10_000 };

/** Makes the first key now, and the next ones when they are due. @returns looks at once whether one is due */
export async function startKeyRotation(
  keys: NodeKeys,
  everyHours: number,
  log: Log,
  signal: AbortSignal,
): Promise<() => void> {
  await keys.rotate();
  const onError = (error: unknown) => log.error({ err: error }, "a new key for sealed jobs could not be made");
  const everyMs = Math.min(LOOK_MS.most, Math.max(LOOK_MS.least, everyHours * 36_000));
  startLoop({ name: "seal keys", everyMs, onError }, () => keys.rotate(), signal);
  return () => void keys.rotate().catch(onError);
}
