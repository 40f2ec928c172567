import type { Msg } from "@nats-io/nats-core";
import type { Bus } from "../service/bus.ts";
import type { Rejections } from "../service/rejections.ts";
import type { Auditor } from "./auditor.ts";
import { serveQuery, serveStats } from "./query.ts";
import { serveReceipt } from "./receipt-desk.ts";
import type { SearchDesk } from "./search/search-desk.ts";

/** Auditors of one cell share what they are asked. */
const QUEUE_GROUP = "auditor";

export interface DeskParts {
  auditor: Pick<Auditor, "index" | "health">;
  search: SearchDesk;
  rejections: Rejections;
  /** The auditor's folder. */
  folder: string;
}

/** Answers everything that the auditor can be asked on the bus. @returns what `nats micro` shows of it */
export function serveDesk(bus: Bus, { auditor, search, rejections, folder }: DeskParts) {
  const { subjects } = bus;
  const now = () => ({ index: auditor.index, search, folder, treeSize: auditor.health.tree_size });
  const serves: Record<string, { subject: string; serve: (msg: Msg) => Promise<void> }> = {
    query: { subject: subjects.auditQuery, serve: (msg) => serveQuery(msg, now(), rejections) },
    stats: { subject: subjects.auditStats, serve: (msg) => serveStats(msg, now(), rejections) },
    receipt: { subject: subjects.auditReceipt, serve: (msg) => serveReceipt(msg, now, rejections) },
  };
  return Object.entries(serves).map(([name, { subject, serve }]) => {
    let requests = 0;
    bus.listen(
      subject,
      (msg) => {
        requests++;
        void serve(msg);
      },
      QUEUE_GROUP,
    );
    return { name, subject, queue: QUEUE_GROUP, stats: () => ({ requests, errors: 0 }) };
  });
}
