import type { EventClass } from "../bus-schemas/index.ts";

/** An event as it waits in the spool. Who says it is not part of it: whoever sends it says it in its own name. */
export interface Envelope {
  id: string;
  type: string;
  eventClass: EventClass;
  time: string;
  traceparent: string | undefined;
  body: string;
}

/** One line of the spool. */
export function toLine({ eventClass, type, time, traceparent, body }: Envelope): string {
  return `${type} ${eventClass} ${time} ${encodeURIComponent(traceparent ?? "")} ${body}`;
}

const LINE = /^(\w{1,64}) (P[012]|none) (\S+) (\S*) (\{.*)$/;
/** As spools held events whose subject did not name its source: subject, type, time, source, trace and body. */
const FORMER_LINE = /^mesh\.[\w-]+\.event\.(\w{1,64})\.(P[012]|none) \1 (\S+) \S+ (\S*) (\{.*)$/;

/** @returns undefined for a line that is no event of ours */
export function fromLine(id: string, line: string): Envelope | undefined {
  const [, type, eventClass, time, trace, body] = LINE.exec(line) ?? FORMER_LINE.exec(line) ?? [];
  if (type === undefined || time === undefined || trace === undefined || body === undefined) return undefined;
  try {
    const traceparent = trace === "" ? undefined : decodeURIComponent(trace);
    return { id, type, eventClass: eventClass as EventClass, time, traceparent, body };
  } catch {
    return undefined; // a trace that nobody encoded
  }
}
