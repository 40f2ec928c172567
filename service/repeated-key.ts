import { CONTENT_TYPES, MeshError } from "../bus-schemas/index.ts";

/**
 * Refuses a body in which a key stands twice: parsers take the last one, so that `security_level` could be said strictly for a
 * person who reads the beginning and widely for the mesh. It is told by counting: the value that was made of it has fewer keys.
 * Shared structures cannot say a key twice.
 * @param value what the body was decoded to
 * @throws MeshError `bad_request`
 */
export function refuseRepeatedKeys(body: Uint8Array, contentType: string | undefined, value: unknown): void {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return;
  const json = contentType === undefined || contentType === "" || contentType.startsWith(CONTENT_TYPES.json);
  const written = json ? keysOfJson(body) : contentType.startsWith(CONTENT_TYPES.msgpack) ? keysOfMsgpack(body) : 0;
  if (written > Object.keys(value).length)
    throw new MeshError("bad_request", "the body says one of its fields twice; say each once");
}

const [QUOTE, BACKSLASH, COLON] = [0x22, 0x5c, 0x3a];
const OPENING = new Set([0x7b, 0x5b]);
const CLOSING = new Set([0x7d, 0x5d]);

/** Keys of the outermost object of a JSON text that is known to be one, as often as they are written. */
function keysOfJson(body: Uint8Array): number {
  let depth = 0;
  let keys = 0;
  for (let i = 0; i < body.length; i++) {
    const byte = body[i] ?? 0;
    if (byte === QUOTE) i = endOfString(body, i);
    else if (byte === COLON && depth === 1) keys++;
    else if (OPENING.has(byte)) depth++;
    else if (CLOSING.has(byte)) depth--;
  }
  return keys;
}

/** Place of the quote that ends the string which begins at `start`. */
function endOfString(body: Uint8Array, start: number): number {
  for (let end = body.indexOf(QUOTE, start + 1); end !== -1; end = body.indexOf(QUOTE, end + 1)) {
    let escapes = 0;
    while (body[end - 1 - escapes] === BACKSLASH) escapes++;
    if (escapes % 2 === 0) return end;
  }
  return body.length;
}

/** Pairs of the outermost map by its head (msgpack specification: fixmap, map 16, map 32). */
function keysOfMsgpack(body: Uint8Array): number {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const [head = 0] = body;
  if (head >= 0x80 && head <= 0x8f) return head & 0x0f;
  if (head === 0xde && body.length >= 3) return view.getUint16(1);
  return head === 0xdf && body.length >= 5 ? view.getUint32(1) : 0;
}
