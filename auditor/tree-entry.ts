import type { LogEntry } from "../bus-schemas/index.ts";
import { MAX_ENTRY_BYTES } from "./tlog/bundle.ts";
import { sha256 } from "./tlog/hash.ts";

/**
 * What enters the signed tree for an entry of the log: its JSON in the one canonical form of RFC 8785, UTF-8. An entry
 * above 65,535 bytes, which a tile cannot hold, enters with `data_sha256` and `data_bytes` of its canonical data in the
 * place of `data`; the log's segment has the data itself.
 */
export function treeEntry(entry: LogEntry): Buffer {
  const whole = Buffer.from(canonicalJson(entry));
  if (whole.length <= MAX_ENTRY_BYTES || !("data" in entry)) return whole;
  const { data, ...rest } = entry;
  const bytes = Buffer.from(canonicalJson(data));
  return Buffer.from(canonicalJson({ ...rest, data_sha256: sha256(bytes).toString("hex"), data_bytes: bytes.length }));
}

/** RFC 8785: members sorted by UTF-16 code units, no white space, numbers and strings as ECMAScript writes them. */
export function canonicalJson(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  let text = "";
  if (Array.isArray(value)) {
    for (const item of value) text += text === "" ? canonicalJson(item) : `,${canonicalJson(item)}`;
    return `[${text}]`;
  }
  const object = value as Record<string, unknown>;
  // Without a comparison, names are sorted by UTF-16 code units.
  for (const name of Object.keys(object).toSorted()) {
    const member = object[name];
    if (member !== undefined) text += `${text === "" ? "" : ","}${JSON.stringify(name)}:${canonicalJson(member)}`;
  }
  return `{${text}}`;
}
