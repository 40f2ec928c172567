import { AUDITORS } from "./auditors.ts";
import type { Grant } from "./permissions.ts";
import type { Subjects } from "./subjects.ts";

/**
 * What a server tells of each call of JetStream's API in an account (NATS: io.nats.jetstream.advisory.v1.api_audit), reads of
 * messages left out. Only the keeper hears it.
 */
export const API_ADVISORIES = "$JS.EVENT.ADVISORY.API";

/** All that an auditor can be asked about its log. */
export function asksTheLog(s: Subjects, why: string): Grant[] {
  return [s.auditQuery, s.auditStats].map((subject) => ({ subject, why }));
}

/** Says what was taken out, for the record. */
export function saysExports(s: Subjects): Grant {
  return { subject: s.auditExport, why: "what was taken out of the mesh" };
}

/** Whoever knows a job's id may have the proof of its ending. */
export function asksForReceipts(s: Subjects): Grant {
  return { subject: s.auditReceipt, why: "receipts of jobs whose id it knows" };
}

/** How far each auditor is. */
export function asksAuditors(s: Subjects): Grant[] {
  return AUDITORS.map((name) => ({
    subject: `$JS.API.CONSUMER.INFO.${s.auditStream}.${name}`,
    why: "how far the auditor is",
  }));
}

/** A reader pulls from its own consumer and says what it has; it can make, change and delete nothing. */
export function readsEvents(s: Subjects, name: string): Grant[] {
  return [
    { subject: `$JS.API.CONSUMER.INFO.${s.auditStream}.${name}`, why: "its own consumer" },
    { subject: `$JS.API.CONSUMER.MSG.NEXT.${s.auditStream}.${name}`, why: "its own consumer" },
    { subject: `$JS.ACK.${s.auditStream}.${name}.>`, why: "what it has read" },
  ];
}

/** The keeper makes readers' consumers, and deletes them with their readers. */
export function makesReaders(s: Subjects): Grant[] {
  const why = "readers of events";
  return [
    { subject: `$JS.API.CONSUMER.DURABLE.CREATE.${s.auditStream}.*`, why },
    { subject: `$JS.API.CONSUMER.DELETE.${s.auditStream}.*`, why },
  ];
}

/**
 * What the auditors say to JetStream, beside their own events, and that something is missing: each has a consumer of its own, and
 * they share one turn. They change no stream.
 */
export function keepsTheLog(s: Subjects): Grant[] {
  return [
    { subject: s.alert("*", "audit_gap"), why: "alerts" },
    { subject: `$JS.API.STREAM.INFO.${s.auditStream}`, why: "the stream of events" },
    ...AUDITORS.flatMap((name) => [
      ...["INFO", "CREATE", "DURABLE.CREATE", "DELETE", "MSG.NEXT"].map((verb) => ({
        subject: `$JS.API.CONSUMER.${verb}.${s.auditStream}.${name}`,
        why: "its own consumer",
      })),
      { subject: `$JS.ACK.${s.auditStream}.${name}.>`, why: "what is in the log" },
    ]),
    { subject: s.auditorBucket.key, why: "whose turn it is to write the log" },
  ];
}
