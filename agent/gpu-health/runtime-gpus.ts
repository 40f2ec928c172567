import { z } from "zod";
import { Count, SubjectToken, type RuntimeRecord } from "../../bus-schemas/index.ts";
import { isMeant, shown } from "./gpu-names.ts";
import type { SickGpu } from "./sick-file.ts";

/** Which GPUs a runtime works with, by its name or kind: index, UUID or place on the bus; [] = none. */
export const RuntimeGpus = z.record(SubjectToken, z.array(z.union([Count, z.string().min(1).max(100)])).max(64));
export type RuntimeGpus = z.infer<typeof RuntimeGpus>;

/**
 * Why a runtime may not be used, as a predicate: one of its GPUs is sick. A runtime of which nobody has said which GPUs it works with
 * may work with any.
 */
export function sickGpuOf(
  { name, kind, diagnostic }: Pick<RuntimeRecord, "name" | "kind" | "diagnostic">,
  sick: readonly SickGpu[],
  said: RuntimeGpus,
): string | undefined {
  if (diagnostic) return undefined;
  const named = said[name] ?? said[kind];
  const one = sick.find(({ gpu }) => named === undefined || named.some((each) => isMeant(gpu, String(each))));
  if (one === undefined) return undefined;
  const how = named === undefined ? "may use" : "uses";
  return `${how} ${shown(one.gpu)}, which is sick: ${one.reason}`.slice(0, 200);
}
