import { MeshError } from "../../bus-schemas/index.ts";
import type { Arrival } from "./arrivals.ts";
import { inOrder } from "./trace-order.ts";

const COLUMNS = "TIMESTAMP,ContextTokens,GeneratedTokens";
/** `2023-11-16 18:15:46.6805900`: seven digits of a second, no zone. */
const TIME = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(\.\d{1,9})?$/;
const COUNT = /^\d{1,8}$/;

/**
 * The Azure LLM inference traces of 2023 (Azure/AzurePublicDataset): arrival, prompt tokens, answer tokens.
 * @throws MeshError `bad_config` with `name` and the line.
 */
export function parseAzureTrace(text: string, name: string): Arrival[] {
  const lines = text.split(/\r?\n/);
  if (lines[0]?.trim() !== COLUMNS) throw new MeshError("bad_config", `${name}:1: the heading must be ${COLUMNS}`);
  const arrivals: Arrival[] = [];
  lines.forEach((line, i) => {
    if (i === 0 || line.trim() === "") return;
    const [time = "", prompt = "", output = "", ...more] = line.split(",");
    const parts = TIME.exec(time);
    const atMs = parts === null ? Number.NaN : Date.parse(`${parts[1]}T${parts[2]}Z`) + Number(parts[3] ?? 0) * 1000;
    if (Number.isNaN(atMs) || !COUNT.test(prompt) || !COUNT.test(output) || more.length > 0)
      throw new MeshError("bad_config", `${name}:${i + 1}: expected a time and two counts of tokens`);
    arrivals.push({
      atMs,
      promptTokens: Math.max(1, Number(prompt)),
      outputTokens: Math.max(1, Number(output)),
      blocks: [],
      sessionId: undefined,
    });
  });
  return inOrder(arrivals, name);
}
