import type { Msg } from "@nats-io/nats-core";
import type { Bus } from "../service/bus.ts";
import type { Rejections } from "../service/rejections.ts";
import type { Auditor } from "./auditor.ts";
import { serveQuery, serveStats, type AuditSources } from "./query.ts";
import type { SearchDesk } from "./search/search-desk.ts";

/** Auditors of one cell share what they are asked. */
const QUEUE_GROUP = "auditor";

export interface DeskParts {
  auditor: Pick<Auditor, "index">;
  search: SearchDesk;
  rejections: Rejections;
}

/** Answers everything that the auditor can be asked on the bus. @returns what `nats micro` shows of it */
export function serveDesk(bus: Bus, { auditor, search, rejections }: DeskParts) {
  const { subjects } = bus;
  const serves = {
    query: { subject: subjects.auditQuery, serve: serveQuery },
    stats: { subject: subjects.auditStats, serve: serveStats },
  } satisfies Record<string, { subject: string; serve: (msg: Msg, from: AuditSources, to: Rejections) => unknown }>;
  return Object.entries(serves).map(([name, { subject, serve }]) => {
    let requests = 0;
    bus.listen(
      subject,
      (msg) => {
        requests++;
        void serve(msg, { index: auditor.index, search }, rejections);
      },
      QUEUE_GROUP,
    );
    return { name, subject, queue: QUEUE_GROUP, stats: () => ({ requests, errors: 0 }) };
  });
}
