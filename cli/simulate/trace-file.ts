import { readFileSync } from "node:fs";
import { MeshError } from "../../bus-schemas/index.ts";
import type { Arrival } from "./arrivals.ts";
import { parseAzureTrace } from "./azure-trace.ts";
import { parseMooncakeTrace } from "./mooncake-trace.ts";

/**
 * Reads a trace: `.jsonl` in Mooncake's shape, `.csv` in Azure's.
 * @throws MeshError `bad_config` naming the file, and the line of what is not valid.
 */
export function readTrace(path: string): Arrival[] {
  const parse = path.endsWith(".jsonl") ? parseMooncakeTrace : path.endsWith(".csv") ? parseAzureTrace : undefined;
  if (parse === undefined)
    throw new MeshError("bad_config", `${path}: a trace is a .csv (Azure LLM 2023) or a .jsonl (Mooncake) file`);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new MeshError("bad_config", `${path}: cannot be read`, { cause });
  }
  return parse(text, path);
}
