import { MeshError, isDataClass, meantClass, stricter, type DataClass } from "../bus-schemas/index.ts";
import { textOf } from "./header-text.ts";

/** Class of a job as its caller declared it, in the two places that a MeshClient takes. */
export interface DeclaredClass {
  /** The strictest of the known declarations. */
  dataClass?: DataClass;
  /** The strictest-looking declaration that is no class, which the router counts beside the known ones. */
  securityLevel?: string;
}

/** Longest `security_level` that a job may carry (bus-schemas/job.ts), characters. */
const MAX_LEVEL_CHARS = 64;

/**
 * Joins every place where a caller may declare a class; the strictest wins, and which default an unknown or missing one
 * takes is left to the router. A header sent twice arrives as one value with commas: each part is a declaration, so a
 * second header can only make the class stricter.
 * @param headers values of `Mesh-Class` and `X-Security-Level`
 * @param fields body fields by name; a value that is not text is a bad request naming the field
 */
export function declaredClass(
  headers: readonly (string | string[] | undefined)[],
  fields: Readonly<Record<string, unknown>>,
): DeclaredClass {
  const declared: DeclaredClass = {};
  for (const header of headers) {
    if (header === undefined) continue;
    for (const value of Array.isArray(header) ? header : header.split(",")) declare(declared, textOf(value).trim());
  }
  for (const [field, value] of Object.entries(fields)) {
    if (value === undefined || value === null) continue;
    if (typeof value !== "string")
      throw new MeshError("bad_request", `${field}: must be text: P0, P1 or P2`, { field });
    declare(declared, value);
  }
  return declared;
}

function declare(declared: DeclaredClass, value: string): void {
  if (value === "") return;
  if (isDataClass(value)) {
    declared.dataClass = declared.dataClass === undefined ? value : stricter(declared.dataClass, value);
    return;
  }
  const kept = value.slice(0, MAX_LEVEL_CHARS);
  const { securityLevel } = declared;
  if (securityLevel === undefined || looks(kept) < looks(securityLevel)) declared.securityLevel = kept;
  // What is cut off may be what it was meant to say.
  if (looks(value) < looks(kept)) declare(declared, looks(value));
}

/** The class that an unknown declaration counts as at least, whatever the policy's default is. */
function looks(value: string): DataClass {
  return meantClass(value) ?? "P2";
}
