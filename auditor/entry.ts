import {
  CE_TYPE_PREFIX,
  DataClass,
  EVENTS,
  EventRecord,
  HEADERS,
  MeshError,
  NO_CLASS,
  eventSource,
  parseEventSubject,
  parseOrThrow,
  type Decision,
  type EventType,
  type LogEntry,
} from "../bus-schemas/index.ts";

/** A message of the stream AUDIT, as far as an entry is made from it. */
export interface StoredMessage {
  subject: string;
  /** Position in the stream. */
  streamSequence: number;
  data: Uint8Array;
  /** A header's value, empty when absent. */
  header(name: string): string;
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * The log entry of a message: the event, checked against its schema and without fields the schema does not name (they
 * could hold content), or a rejected entry that keeps subject, size and reason but not the body. Never throws.
 */
export function toEntry(message: StoredMessage, sequence: number): LogEntry {
  const position = { sequence, stream_sequence: message.streamSequence };
  try {
    const event = readEvent(message);
    // The position and the job come first in the line, so that an index is built without parsing the rest.
    return { ...position, job_id: jobOf(event.data), ...event };
  } catch (cause) {
    const reason = MeshError.from(cause, "internal", "could not be read").message;
    return {
      ...position,
      job_id: null,
      rejected: {
        subject: message.subject.slice(0, 300),
        size_bytes: message.data.length,
        reason: reason.slice(0, 2000),
      },
    };
  }
}

/**
 * An event whose parts agree. The subject counts, because it is what the broker has permitted its sender to say (ADR 0012).
 * @throws MeshError naming the header or field.
 */
function readEvent(message: StoredMessage): EventRecord {
  const subject = parseEventSubject(message.subject);
  if (subject === undefined) throw new MeshError("bad_request", "the subject is not one of events");
  const type = message.header(HEADERS.ceType).slice(CE_TYPE_PREFIX.length);
  if (!Object.hasOwn(EVENTS, type)) throw new MeshError("bad_request", "ce-type: not an event of this mesh");
  if (type !== subject.type) throw new MeshError("bad_request", "ce-type: not the type of the subject");
  const source = message.header(HEADERS.ceSource);
  if (source !== eventSource(subject)) throw new MeshError("bad_request", "ce-source: not the source of the subject");
  const securityLevel = subject.dataClass === NO_CLASS ? null : parseOrThrow(DataClass, subject.dataClass);
  const data = parseOrThrow(EVENTS[type as EventType].data, parseBody(message.data));
  const { security_level: said, decision } = data as { security_level?: DataClass; decision?: Decision | null };
  if ((said ?? decision?.security_level ?? securityLevel) !== securityLevel)
    throw new MeshError("bad_request", "security_level: not the class of the subject");
  const record = {
    id: message.header(HEADERS.ceId),
    source,
    type,
    time: message.header(HEADERS.ceTime),
    security_level: securityLevel,
    traceparent: message.header(HEADERS.traceparent) || null,
    data,
  };
  return parseOrThrow(EventRecord, record);
}

function parseBody(data: Uint8Array): unknown {
  try {
    return JSON.parse(utf8.decode(data)) as unknown;
  } catch {
    throw new MeshError("bad_request", "the body is not JSON");
  }
}

function jobOf(data: unknown): string | null {
  const job = (data as { job_id?: unknown }).job_id;
  return typeof job === "string" ? job : null;
}
