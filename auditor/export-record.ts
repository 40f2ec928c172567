import type { Msg } from "@nats-io/nats-core";
import { ExportNote, MeshError } from "../bus-schemas/index.ts";
import type { EventPublisher } from "../service/events.ts";
import type { Log } from "../service/log.ts";
import { readBody, respond } from "../service/messages.ts";
import type { Rejections } from "../service/rejections.ts";

/** Puts on record what is taken out of the mesh. Receipts, one a job, are only counted: an event for each would double the log. */
export class ExportRecord {
  readonly #events: Pick<EventPublisher, "record">;
  readonly #rejections: Pick<Rejections, "add">;
  readonly #log: Log;
  #receipts = 0;

  constructor(events: Pick<EventPublisher, "record">, rejections: Pick<Rejections, "add">, log: Log) {
    this.#events = events;
    this.#rejections = rejections;
    this.#log = log;
  }

  /** A receipt was given out. */
  receipt(): void {
    this.#receipts++;
  }

  /** Records the receipts since the last time, if there were any; call it each minute and at the end. */
  flush(): void {
    const count = this.#receipts;
    if (count === 0) return;
    try {
      this.#events.record("record_exported", { kind: "receipts", by: null, what: null, count, sha256: null });
      this.#receipts -= count;
    } catch (error) {
      // They are in the next count.
      this.#log.warn({ err: error }, "receipts that were given out could not be recorded");
    }
  }

  /** Answers one request on `audit.export`: with the event's id, or why it is not on record. */
  async serve(msg: Msg): Promise<void> {
    try {
      const note = readBody(msg, ExportNote);
      const { id, durable } = this.#events.record("record_exported", note);
      await durable;
      respond(msg, { event_id: id });
    } catch (cause) {
      const error = MeshError.from(cause);
      if (error.code === "bad_request") this.#rejections.add("audit_export", error);
      respond(msg, { error: error.toWire() });
    }
  }
}
