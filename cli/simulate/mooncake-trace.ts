import { z } from "zod";
import { MeshError, fieldPath } from "../../bus-schemas/index.ts";
import type { Arrival } from "./arrivals.ts";
import { inOrder } from "./trace-order.ts";

const Line = z.object({
  timestamp: z.number().min(0).max(1e12),
  input_length: z.number().int().min(0).max(100_000_000),
  output_length: z.number().int().min(0).max(100_000_000),
  hash_ids: z.array(z.number().int().min(0)).max(1_000_000),
});

/**
 * The Mooncake traces (kvcache-ai/Mooncake, FAST 2025): arrival in milliseconds, lengths, and a hash for each 512 tokens
 * of the prompt. The first block is shared by all (a system prompt); the second tells conversations apart, and stands for
 * the session id that a caller would give.
 * @throws MeshError `bad_config` with `name` and the line.
 */
export function parseMooncakeTrace(text: string, name: string): Arrival[] {
  const arrivals: Arrival[] = [];
  text.split(/\r?\n/).forEach((line, i) => {
    if (line.trim() === "") return;
    const { timestamp, input_length: input, output_length: output, hash_ids: blocks } = parseLine(line, name, i + 1);
    arrivals.push({
      atMs: timestamp,
      promptTokens: Math.max(1, input),
      outputTokens: Math.max(1, output),
      blocks,
      sessionId: blocks[1] === undefined ? undefined : `conversation-${blocks[1]}`,
    });
  });
  return inOrder(arrivals, name);
}

function parseLine(line: string, name: string, number: number): z.infer<typeof Line> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new MeshError("bad_config", `${name}:${number}: not JSON`);
  }
  const result = Line.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const field = fieldPath(issue?.path ?? []);
  throw new MeshError("bad_config", `${name}:${number}: ${field}: ${issue?.message ?? "not valid"}`, { field });
}
