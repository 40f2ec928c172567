import { existsSync } from "node:fs";
import path from "node:path";
import { openCheckpoint } from "../../auditor/tlog/checkpoint.ts";
import { readCheckpoint } from "../../auditor/tlog/verify.ts";
import { catchUp, isOf, type ReadableLog } from "../../auditor/search/build.ts";
import type { StorageKeys } from "../../auditor/at-rest/storage-keys.ts";
import { INDEX_FILE, SearchIndex, isIndexOf } from "../../auditor/search/search-index.ts";
import { search } from "../../auditor/search/search.ts";
import { statsOf } from "../../auditor/search/stats.ts";
import {
  AuditQuery,
  AuditStats,
  parseOrThrow,
  type AuditEntry,
  type AuditFilter,
  type AuditPage,
  type AuditQueryInput,
} from "../../bus-schemas/index.ts";
import { askAuditor, searchAudit } from "../audit-client.ts";
import { withClient } from "../with-client.ts";
import { noteExport } from "./export-note.ts";
import { logPlace } from "./log-folder.ts";

/** Where entries are looked for: the auditor of a mesh, or a folder. */
export interface AuditSource {
  query(query: AuditQueryInput): Promise<AuditPage>;
  stats(about: AuditFilter): Promise<AuditStats>;
  /** Entries were taken out. Of a folder's it is nobody's to know. */
  exported(what: string, count: number): Promise<void>;
}

export interface SourceFlags {
  offline?: string;
  key?: string;
}

/** Runs `body` with the log of a folder if one is named, else with the auditor of the mesh. */
export async function withSource<T>(
  { offline, key }: SourceFlags,
  body: (source: AuditSource) => Promise<T>,
): Promise<T> {
  if (offline === undefined) {
    return withClient((client) =>
      body({
        query: (query) => searchAudit(client, query),
        exported: (what, count) => noteExport(client, { kind: "entries", what, count }),
        stats: async (about) =>
          parseOrThrow(AuditStats, await askAuditor(client, client.bus.subjects.auditStats, about), "internal"),
      }),
    );
  }
  const { log, index } = openFolder(offline, key);
  try {
    return await body({
      query: async (query) => search(index, log, parseOrThrow(AuditQuery, query)),
      stats: async (about) => statsOf(index, about),
      exported: () => Promise.resolve(),
    });
  } finally {
    index.close();
  }
}

/** All entries that fit, page by page, oldest first. */
export async function* allEntries(
  source: AuditSource,
  about: AuditFilter,
): AsyncGenerator<AuditEntry, void, undefined> {
  for (let after = 0; ;) {
    const { events, next } = await source.query({ ...about, after_sequence: after, limit: 1000 });
    yield* events;
    if (events.length === 0 || next <= after) return;
    after = next;
  }
}

/** The log of a folder, and its search index: the auditor's own where that is up to date, else one made in memory. */
export function openFolder(
  offline: string | undefined,
  keyFile: string | undefined,
): { log: ReadableLog; index: SearchIndex } {
  const { folder, key, keys } = logPlace(offline, keyFile);
  const log = { tlog: folder, keys, checkpoint: openCheckpoint(readCheckpoint(folder), key) };
  return { log, index: ready(path.join(path.dirname(folder), INDEX_FILE), log) ?? inMemory(log) };
}

function ready(file: string, { keys, ...log }: ReadableLog & { keys: StorageKeys }): SearchIndex | undefined {
  // Opening one that does not fit would put an empty one in its place.
  if (!existsSync(file) || !isIndexOf(file, keys)) return undefined;
  const index = new SearchIndex(file, { keys });
  if (isOf(index, log) && index.log.last === log.checkpoint.size) return index;
  index.close();
  return undefined;
}

function inMemory(log: ReadableLog): SearchIndex {
  const index = new SearchIndex(":memory:", { bulk: true });
  while (index.log.last < log.checkpoint.size) catchUp(index, log);
  index.finish();
  return index;
}
