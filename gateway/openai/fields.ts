import { MeshError } from "../../bus-schemas/index.ts";

interface Types {
  boolean: boolean;
  number: number;
  string: string;
  object: object;
}

/** A field's value when it has this type, undefined when absent or null. @throws MeshError `bad_request` otherwise. */
export function optional<T extends keyof Types>(
  body: Readonly<Record<string, unknown>>,
  name: string,
  type: T,
  prefix = "",
): Types[T] | undefined {
  const value = body[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== type || Array.isArray(value))
    throw wrong(prefix + name, `must be ${type === "object" ? "an" : "a"} ${type}`);
  return value as Types[T];
}

/** The model that a body names; undefined where the router is to choose. */
export function modelOf(body: Readonly<Record<string, unknown>>): { model?: string } {
  const model = optional(body, "model", "string");
  return model === undefined || model === "" || model === "auto" ? {} : { model };
}

/** `stream` and `stream_options.include_usage`. */
export function streamingOf(body: Readonly<Record<string, unknown>>): { stream: boolean; includeUsage: boolean } {
  const stream = optional(body, "stream", "boolean") ?? false;
  const options = optional(body, "stream_options", "object");
  const includeUsage =
    options === undefined
      ? undefined
      : optional(options as Record<string, unknown>, "include_usage", "boolean", "stream_options.");
  return { stream, includeUsage: includeUsage ?? false };
}

/** The mesh answers with one choice. @throws MeshError `bad_request` when more are asked for */
export function onlyOne(body: Readonly<Record<string, unknown>>): void {
  const n = optional(body, "n", "number");
  if (n !== undefined && n !== 1) throw wrong("n", "the mesh answers with one choice; leave n out or set it to 1");
}

export function wrong(field: string, message: string): MeshError {
  return new MeshError("bad_request", `${field}: ${message}`, { field });
}
