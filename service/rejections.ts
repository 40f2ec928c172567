import type { MeshError } from "../bus-schemas/index.ts";
import type { EventPublisher } from "./events.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";

/** How often what was counted is reported, milliseconds. */
const REPORT_EVERY_MS = 1000;
/** At most so many different complaints are kept between two reports; the rest is counted together. */
const MAX_KINDS = 100;

/**
 * Counts malformed messages and reports them once a second, one event per kind: a flood of garbage becomes one line,
 * not a flood of events.
 */
export class Rejections {
  readonly #counts = new Map<string, { kind: string; code: string; field: string | null; count: number }>();
  readonly #metric;
  readonly #process: string;
  readonly #events: EventPublisher;
  readonly #log: Log;
  /** Runs while there is something to report. */
  #timer: NodeJS.Timeout | undefined;

  constructor(process: string, events: EventPublisher, metrics: Metrics, log: Log) {
    this.#process = process;
    this.#events = events;
    this.#metric = metrics.counter("messages_rejected_total", "Malformed messages, dropped or answered with an error", [
      "kind",
      "code",
    ]);
    this.#log = log;
  }

  /** @param kind which subject or port: `submit`, `heartbeat`, `http`, … (one subject token) */
  add(kind: string, error: MeshError): void {
    this.#metric.inc({ kind, code: error.code });
    // Only array indices are folded away: a thousand bad elements of one list are one complaint.
    const field = error.field?.replace(/\[\d+\]/g, "[]").slice(0, 200) ?? null;
    const key = this.#counts.size < MAX_KINDS ? `${kind}|${error.code}|${field}` : `${kind}|${error.code}`;
    const entry = this.#counts.get(key);
    if (entry === undefined) this.#counts.set(key, { kind, code: error.code, field, count: 1 });
    else entry.count++;
    this.#timer ??= setInterval(() => this.#tryToReport(), REPORT_EVERY_MS);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#report();
  }

  #tryToReport(): void {
    try {
      this.#report();
      clearInterval(this.#timer);
      this.#timer = undefined;
    } catch (error) {
      this.#log.debug({ err: error }, "rejections wait");
    }
  }

  #report(): void {
    for (const [key, { kind, code, field, count }] of this.#counts) {
      this.#events.record("message_rejected", { process: this.#process, subject_kind: kind, code, field, count });
      this.#counts.delete(key);
    }
  }
}
