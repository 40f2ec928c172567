import { open, type FileHandle } from "node:fs/promises";
import type { Msg } from "@nats-io/nats-core";
import {
  AuditFilter,
  AuditQuery,
  MeshError,
  type AuditEntry,
  type AuditPage,
  type AuditStats,
  type RecordPath,
} from "../bus-schemas/index.ts";
import { readBody, respond } from "../service/messages.ts";
import type { Rejections } from "../service/rejections.ts";
import type { Line, LogIndex } from "./log-index.ts";
import type { RecordPlace } from "./segment.ts";
import type { SearchDesk } from "./search/search-desk.ts";

/** An answer stays below this, bytes, well under the bus's largest message. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

/**
 * Entries for a question, read from the newest segments, which have an event some milliseconds after it came.
 * @throws the file system's errors.
 */
export async function answerQuery(index: LogIndex, query: AuditQuery): Promise<AuditPage> {
  const lines = index.select(query);
  const { kept, cut } = fitting(lines, query.after_sequence === undefined);
  const events = await readLines(kept);
  const whole = !cut && (query.after_sequence === undefined || lines.length < query.limit);
  const older =
    index.first > 1 && (query.job_id !== undefined || (query.after_sequence ?? index.first) < index.first - 1);
  return {
    events,
    next: whole
      ? Math.max(index.last, query.after_sequence ?? 0)
      : (kept.at(-1)?.sequence ?? query.after_sequence ?? 0),
    first: index.first,
    note: older ? `entries before ${index.first} are not looked up here; read the auditor's segments` : null,
  };
}

/** The lines that fit one answer; the newest when the question is for the newest. */
function fitting(lines: readonly Line[], newest: boolean): { kept: Line[]; cut: boolean } {
  const kept: Line[] = [];
  let bytes = 0;
  for (const line of newest ? lines.toReversed() : lines) {
    bytes += line.length;
    if (bytes > MAX_ANSWER_BYTES && kept.length > 0) break;
    kept.push(line);
  }
  return { kept: newest ? kept.toReversed() : kept, cut: !newest && kept.length < lines.length };
}

async function readLines(lines: readonly Line[]): Promise<AuditEntry[]> {
  const entries: AuditEntry[] = [];
  for (const [file, ofFile] of Map.groupBy(lines, (line) => line.file)) {
    const handle = await open(file, "r");
    try {
      let last: { record: RecordPlace; text: Buffer } | undefined;
      for (const { length, offset, record, seal } of ofFile) {
        if (record === undefined || seal === undefined) {
          entries.push(JSON.parse((await readAt(handle, { offset, length })).toString()) as AuditEntry);
          continue;
        }
        // Neighbours lie in one record.
        if (last?.record !== record) {
          const text = seal.open((await readAt(handle, record)).toString("latin1"));
          if (text === undefined) throw new MeshError("audit_unavailable", `${file}: a line of it was damaged`);
          last = { record, text };
        }
        entries.push(JSON.parse(last.text.toString("utf8", offset, offset + length)) as AuditEntry);
      }
    } finally {
      await handle.close();
    }
  }
  return entries;
}

async function readAt(handle: FileHandle, { length, offset }: RecordPlace): Promise<Buffer> {
  return (await handle.read(Buffer.alloc(length), 0, length, offset)).buffer;
}

/** Whether a question has conditions that only the search index knows. */
function asksMore(query: AuditQuery): boolean {
  return Object.entries(query).some(([field, value]) => value !== undefined && !NEWEST_KNOW.has(field));
}

/** What the newest segments are looked up by. */
const NEWEST_KNOW: ReadonlySet<string> = new Set<keyof AuditQuery>(["job_id", "type", "after_sequence", "limit"]);

/** Whether the answer may lie before the newest segments. */
function reachesBack(index: LogIndex, query: AuditQuery): boolean {
  if (index.first <= 1) return false;
  if (query.after_sequence !== undefined) return query.after_sequence < index.first - 1;
  return query.job_id !== undefined || index.select(query).length < query.limit;
}

/** Where questions are answered from. */
export interface AuditSources {
  /** Of the newest segments. */
  index: LogIndex | undefined;
  search: SearchDesk;
  recordPath: RecordPath;
}

/** Answers one request on `audit.query`; a malformed one gets a typed error. */
export async function serveQuery(
  msg: Msg,
  { index, recordPath, search }: AuditSources,
  rejections: Rejections,
): Promise<void> {
  try {
    const query = readBody(msg, AuditQuery);
    if (index === undefined)
      throw new MeshError("audit_unavailable", "the auditor cannot read its log; see its health");
    const far = asksMore(query) || (search.state.indexed > 0 && reachesBack(index, query));
    const page = far ? await search.ask({ kind: "query", query }) : await answerQuery(index, query);
    respond(msg, { ...page, record_path: recordPath });
  } catch (cause) {
    const error = MeshError.from(cause);
    if (error.code === "bad_request") rejections.add("audit_query", error);
    respond(msg, { events: [], next: 0, first: 0, note: null, error: error.toWire() } satisfies AuditPage);
  }
}

/** Answers one request on `audit.stats`. */
export async function serveStats(msg: Msg, { search }: AuditSources, rejections: Rejections): Promise<void> {
  try {
    respond(msg, await search.ask({ kind: "stats", about: readBody(msg, AuditFilter) }));
  } catch (cause) {
    const error = MeshError.from(cause);
    if (error.code === "bad_request") rejections.add("audit_stats", error);
    respond(msg, { ...NO_STATS, error: error.toWire() });
  }
}

const NO_STATS: AuditStats = {
  entries: 0,
  jobs: 0,
  first_time: null,
  last_time: null,
  by_type: {},
  by_class: {},
  endings: {},
  nodes: [],
  energy_wh: null,
  cost: {},
  indexed: 0,
};
