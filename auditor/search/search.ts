/** Answers questions about a log from its search index and its tiles. */
import type { AuditEntry, AuditPage, AuditQuery } from "../../bus-schemas/index.ts";
import { TileReader } from "../tlog/reader.ts";
import type { SearchIndex } from "./search-index.ts";
import { EntryReader, type EntryFiles } from "./tile-entries.ts";

/** An answer stays below this, characters of JSON, well under the bus's largest message. */
const MAX_ANSWER_CHARS = 4 * 1024 * 1024;

/**
 * The entries for a question, as the tiles have them.
 * @throws MeshError `conflict`, `not_found` when a tile is damaged
 */
export function search(index: SearchIndex, { keys, tlog }: EntryFiles, query: AuditQuery): AuditPage {
  const found = index.select(query);
  const newest = query.after_sequence === undefined;
  const reader = new EntryReader(new TileReader(tlog, index.log.last, keys));
  const events: AuditEntry[] = [];
  let chars = 0;
  let pruned = 0;
  let full = false;
  for (const sequence of newest ? found.toReversed() : found) {
    const entry = reader.at(sequence);
    if (entry === undefined) {
      pruned++;
      continue;
    }
    chars += JSON.stringify(entry).length;
    full = chars > MAX_ANSWER_CHARS && events.length > 0;
    if (full) break;
    events.push(entry as AuditEntry);
  }
  if (newest) events.reverse();
  const whole = newest || (!full && found.length < query.limit);
  return {
    events,
    next: whole
      ? Math.max(index.log.last, query.after_sequence ?? 0)
      : (events.at(-1)?.sequence ?? query.after_sequence ?? 0),
    first: 1,
    note: noteOf(pruned, full && newest),
  };
}

function noteOf(pruned: number, cut: boolean): string | null {
  if (cut) return "the answer was too large: the oldest entries of it are left out; ask for fewer";
  return pruned === 0 ? null : `${pruned} more were found, whose content was pruned from the log`;
}
