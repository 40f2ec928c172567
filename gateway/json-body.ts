import { MeshError } from "../bus-schemas/index.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * A request's body. The engine's own message quotes the body, so only the place is taken from it.
 * @throws MeshError `bad_request` saying where the JSON breaks.
 */
export function parseJsonBody(body: Uint8Array): unknown {
  if (body.length === 0) throw new MeshError("bad_request", "the body is empty; a JSON object is expected");
  let text: string;
  try {
    text = utf8.decode(body);
  } catch {
    throw new MeshError("bad_request", "the body is not UTF-8");
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new MeshError("bad_request", `the body is not JSON${whereOf(error)}`);
  }
}

function whereOf(error: unknown): string {
  const message = error instanceof Error ? error.message : "";
  // V8 says either "… at position 10 (line 1 column 11)" or that the input ended; other messages name no place.
  const place = /\(line \d+ column \d+\)$/.exec(message)?.[0];
  if (place !== undefined) return ` ${place}`;
  return message.startsWith("Unexpected end") ? ": it ends too early" : "";
}
