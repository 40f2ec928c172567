import { z } from "zod";
import { meantClass } from "./meant-class.ts";

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
 * declaration wins, and with no declaration at all it is `fallback`: the policy's `default_level`, and without one P0
 * (DESIGN §2). A declaration that is not exactly a class counts as `fallback` too, or as the class that a person may
 * have meant by it where that is stricter: never as a wider one.
 */
export function effectiveClass(declared: readonly (string | undefined)[], fallback: DataClass = "P0"): DataClass {
  let result: DataClass | undefined;
  for (const value of declared) {
    if (value === undefined || value === "") continue;
    const known = isDataClass(value) ? value : stricter(meantClass(value) ?? fallback, fallback);
    result = result === undefined ? known : stricter(result, known);
  }
  return result ?? fallback;
}

/** What one place declares, without its words: they could hold anything. null = nothing. */
export const DeclaredAs = z.enum([...DATA_CLASSES, "unreadable"]).nullable();
export type DeclaredAs = z.infer<typeof DeclaredAs>;

/** A declaration as it may be recorded. */
export function declaredAs(value: string | undefined): DeclaredAs {
  if (value === undefined || value === "") return null;
  return isDataClass(value) ? value : "unreadable";
}

/**
 * Who decided a job's class: its caller, by declaring exactly it; the policy's `default_level`, where nothing was declared or
 * nothing that is a class; or what an unreadable declaration may have meant, where that is stricter (meant-class.ts).
 */
export const ClassifiedBy = z.enum(["caller", "policy_default", "likely_meaning"]);
export type ClassifiedBy = z.infer<typeof ClassifiedBy>;

/** @param effective what `effectiveClass` made of the same declarations */
export function classifiedBy(
  declared: readonly (string | undefined)[],
  effective: DataClass,
  fallback: DataClass = "P0",
): ClassifiedBy {
  if (declared.includes(effective)) return "caller";
  return effective === fallback ? "policy_default" : "likely_meaning";
}
