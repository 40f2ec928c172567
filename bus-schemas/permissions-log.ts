import { AUDITORS } from "./auditors.ts";
import type { Grant } from "./permissions.ts";
import type { Subjects } from "./subjects.ts";

/** What the auditors say to JetStream, beside their own events: each has a consumer of its own, and they share one turn. */
export function keepsLog(s: Subjects): Grant[] {
  return [
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

/** How far each auditor is. */
export function asksAuditors(s: Subjects): Grant[] {
  return AUDITORS.map((name) => ({
    subject: `$JS.API.CONSUMER.INFO.${s.auditStream}.${name}`,
    why: "how far the auditor is",
  }));
}
