import { open } from "node:fs/promises";
import type { Msg } from "@nats-io/nats-core";
import { AuditQuery, MeshError, type AuditEntry, type AuditPage } from "../bus-schemas/index.ts";
import { readBody, respond } from "../service/messages.ts";
import type { Rejections } from "../service/rejections.ts";
import type { Line, LogIndex } from "./log-index.ts";

/** An answer stays below this, bytes, well under the bus's largest message. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

/** Entries for a question, read from the segments. @throws the file system's errors. */
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
      for (const { offset, length } of ofFile) {
        const { buffer } = await handle.read(Buffer.alloc(length), 0, length, offset);
        entries.push(JSON.parse(buffer.toString("utf8")) as AuditEntry);
      }
    } finally {
      await handle.close();
    }
  }
  return entries;
}

/** Answers one request on `audit.query`; a malformed one gets a typed error. */
export async function serveQuery(msg: Msg, index: LogIndex | undefined, rejections: Rejections): Promise<void> {
  try {
    const query = readBody(msg, AuditQuery);
    if (index === undefined)
      throw new MeshError("audit_unavailable", "the auditor cannot read its log; see its health");
    respond(msg, await answerQuery(index, query));
  } catch (cause) {
    const error = MeshError.from(cause);
    if (error.code === "bad_request") rejections.add("audit_query", error);
    respond(msg, { events: [], next: 0, first: 0, note: null, error: error.toWire() } satisfies AuditPage);
  }
}
