import type { Msg, Subscription } from "@nats-io/nats-core";
import type { Bus } from "../service/bus.ts";
import type { Rejections } from "../service/rejections.ts";
import type { StorageKeys } from "./at-rest/storage-keys.ts";
import type { Auditor } from "./auditor.ts";
import type { ExportRecord } from "./export-record.ts";
import { serveQuery, serveStats } from "./query.ts";
import { serveReceipt } from "./receipt-desk.ts";
import type { RecordPathWatch } from "./record-path.ts";
import type { SearchDesk } from "./search/search-desk.ts";

/** Auditors of one cell share what they are asked. */
const QUEUE_GROUP = "auditor";

export interface DeskParts {
  auditor: Pick<Auditor, "index" | "health">;
  search: SearchDesk;
  recordPath: Pick<RecordPathWatch, "state">;
  rejections: Rejections;
  exports: Pick<ExportRecord, "receipt" | "serve">;
  /** The auditor's folder. */
  folder: string;
  /** Of a log that is encrypted. */
  keys: StorageKeys;
}

/** Answers everything that the auditor can be asked on the bus, while it is its turn to write. */
export class Desk {
  readonly #bus: Bus;
  readonly #serves: Record<string, { subject: string; requests: number; serve: (msg: Msg) => Promise<void> }>;
  #subscriptions: Subscription[] = [];

  constructor(bus: Bus, { auditor, recordPath, search, rejections, exports, folder, keys }: DeskParts) {
    this.#bus = bus;
    const { subjects } = bus;
    const now = () => ({
      index: auditor.index,
      search,
      folder,
      keys,
      recordPath: recordPath.state,
      treeSize: auditor.health.tree_size,
    });
    this.#serves = {
      query: { subject: subjects.auditQuery, requests: 0, serve: (msg) => serveQuery(msg, now(), rejections) },
      stats: { subject: subjects.auditStats, requests: 0, serve: (msg) => serveStats(msg, now(), rejections) },
      receipt: {
        subject: subjects.auditReceipt,
        requests: 0,
        serve: async (msg) => {
          if (await serveReceipt(msg, now, rejections)) exports.receipt();
        },
      },
      export: { subject: subjects.auditExport, requests: 0, serve: (msg) => exports.serve(msg) },
    };
  }

  /** What `nats micro` shows of it. */
  get endpoints() {
    return Object.entries(this.#serves).map(([name, served]) => ({
      name,
      subject: served.subject,
      queue: QUEUE_GROUP,
      stats: () => ({ requests: served.requests, errors: 0 }),
    }));
  }

  open(isOpen: boolean): void {
    for (const subscription of this.#subscriptions.splice(0)) subscription.unsubscribe();
    if (!isOpen) return;
    this.#subscriptions = Object.values(this.#serves).map((served) =>
      this.#bus.listen(
        served.subject,
        (msg) => {
          served.requests++;
          void served.serve(msg);
        },
        QUEUE_GROUP,
      ),
    );
  }
}
