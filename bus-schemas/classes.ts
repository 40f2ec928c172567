import { z } from "zod";

/** Data classes of SEED 数据分级标准, strictest first: P0 core secrets, P1 sensitive, P2 general. */
export const DATA_CLASSES = ["P0", "P1", "P2"] as const;
/** Compute layers of SEED 算力层次划分: L0 terminals, L1 local servers, L2 cloud. */
export const LAYERS = ["L0", "L1", "L2"] as const;

export const DataClass = z.enum(DATA_CLASSES);
export type DataClass = z.infer<typeof DataClass>;

export const Layer = z.enum(LAYERS);
export type Layer = z.infer<typeof Layer>;

/** The stricter of two classes: P0 before P1 before P2. */
export function stricter(a: DataClass, b: DataClass): DataClass {
  return a < b ? a : b;
}

/** True for exactly "P0", "P1" or "P2"; other casing, spaces and look-alike letters are not a class. */
export function isDataClass(value: unknown): value is DataClass {
  return value === "P0" || value === "P1" || value === "P2";
}

/**
 * The class a job is handled under. Every place that may declare one is passed in (header, body); the strictest
 * declaration wins, an unrecognised declaration counts as `fallback`, and with no declaration at all it is `fallback`.
 * `fallback` is the policy's `default_level`, and without one P0 (DESIGN §2).
 */
export function effectiveClass(declared: readonly (string | undefined)[], fallback: DataClass = "P0"): DataClass {
  let result: DataClass | undefined;
  for (const value of declared) {
    if (value === undefined || value === "") continue;
    const known = isDataClass(value) ? value : fallback;
    result = result === undefined ? known : stricter(result, known);
  }
  return result ?? fallback;
}
