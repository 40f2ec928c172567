import { readFileSync } from "node:fs";
import { MeshError } from "../../bus-schemas/index.ts";
import type { Arrival } from "./arrivals.ts";
import { parseAzureTrace } from "./azure-trace.ts";
import { parseMooncakeTrace } from "./mooncake-trace.ts";

/**
 * Reads a trace and tells its format by its first character: `{` begins a line of Mooncake's JSON, `T` Azure's heading.
 * @throws MeshError `bad_config` naming the file, and the line of what is not valid.
 */
export function readTrace(path: string): Arrival[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new MeshError("bad_config", `${path}: cannot be read`, { cause });
  }
  return parseTrace(text, path);
}

/** @see readTrace; `name` stands for the file in messages. */
export function parseTrace(text: string, name: string): Arrival[] {
  const first = text.at(0);
  if (first === "{") return parseMooncakeTrace(text, name);
  if (first === "T") return parseAzureTrace(text, name);
  throw new MeshError(
    "bad_config",
    `${name}:1: neither Azure's LLM trace (CSV with a heading) nor Mooncake's (JSON lines)`,
  );
}
