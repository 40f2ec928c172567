import { z } from "zod";
import { MeshError } from "./errors.ts";
import { Label, ModelName, Ratio, SubjectToken, UnixMs } from "./units.ts";

/** How well a model does one task type: the value of a key in the bucket `tiermesh-quality-<cell>`. */
export const QualityEntry = z.object({
  /** 0 (useless) to 1 (as good as it gets). */
  score: Ratio,
  /** Ratings behind the score; 0 = somebody's word. */
  samples: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
  updated_ms: UnixMs,
  /** Who says so: a person, an evaluation, `feedback`. */
  source: Label,
});
export type QualityEntry = z.infer<typeof QualityEntry>;

/** What an entry is about. */
export interface QualitySubject {
  model: string;
  taskType: string;
}

/** Left as they are by encodeURIComponent, but no part of a KV key's token. */
const NOT_IN_KEYS = /[.!~*'()]/g;

/**
 * The key of a model at a task type: `<task>.<model>`, in which every character of the model's name but letters, digits,
 * `-` and `_` is written as `=` and two hex digits for each of its UTF-8 bytes (`qwen2=2E5=3A7b`). NATS ADR-8 allows no
 * others in keys.
 * @throws MeshError `bad_request` when either is no name
 */
export function qualityKey({ model, taskType }: QualitySubject): string {
  if (!SubjectToken.safeParse(taskType).success)
    throw new MeshError("bad_request", "task type: letters, digits, _ and -, 1 to 64 characters", {
      field: "task_type",
    });
  if (!ModelName.safeParse(model).success || !model.isWellFormed())
    throw new MeshError("bad_request", "model: 1 to 200 characters of Unicode text", { field: "model" });
  const escaped = encodeURIComponent(model).replace(NOT_IN_KEYS, hex);
  return `${taskType}.${escaped.replaceAll("%", "=")}`;
}

/** The reverse; undefined for a key that `qualityKey` does not write. */
export function parseQualityKey(key: string): QualitySubject | undefined {
  const dot = key.indexOf(".");
  const taskType = key.slice(0, Math.max(dot, 0));
  try {
    const model = decodeURIComponent(key.slice(dot + 1).replaceAll("=", "%"));
    return qualityKey({ model, taskType }) === key ? { model, taskType } : undefined;
  } catch {
    return undefined;
  }
}

function hex(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
}
