import { HEADERS } from "../bus-schemas/index.ts";
import { header } from "../service/messages.ts";
import { answerEnding, statusOf, type RouterEnding } from "./answer.ts";
import type { RouterParts } from "./parts.ts";

/** The one ending of each job that ends at this router. */
export class Endings {
  readonly #parts: Pick<RouterParts, "events" | "log" | "metrics">;
  readonly #onEnded: (jobId: string) => void;

  constructor(parts: Pick<RouterParts, "events" | "log" | "metrics">, onEnded: (jobId: string) => void) {
    this.#parts = parts;
    this.#onEnded = onEnded;
  }

  /** Tells the caller, and records it. */
  end(ending: RouterEnding): void {
    answerEnding(ending);
    this.record(ending);
  }

  /** Of a job whose caller knows how it ended, or is gone. Best effort. */
  record(ending: RouterEnding): void {
    const { events, log, metrics } = this.#parts;
    const { message, jobId, error, dataClass, decisionId, nodeId, waitedMs, caller } = ending;
    const status = statusOf(ending);
    this.#onEnded(jobId);
    metrics.endings.inc({ status, code: error.code });
    const nothing = { layer: null, model: null, finish_reason: null, usage: null, timing: null };
    const data = {
      job_id: jobId,
      status,
      node_id: nodeId ?? null,
      decision_id: decisionId ?? null,
      error: error.toWire(),
      ...nothing,
      ...(waitedMs === undefined ? {} : { waited_ms: waitedMs }),
      ...(caller === undefined ? {} : { caller }),
    };
    try {
      events.record("job_ended", data, { dataClass, traceparent: header(message, HEADERS.traceparent) });
    } catch (cause) {
      log.warn({ err: cause, job: jobId }, "the ending of a job could not be recorded");
    }
  }
}
