import type { LogEntry } from "../bus-schemas/index.ts";
import { canonicalJson } from "../service/canonical-json.ts";
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
