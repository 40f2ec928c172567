import { isDeepStrictEqual } from "node:util";
import type { EventPublisher } from "./events.ts";
import { newId } from "./ids.ts";
import type { Lifecycle } from "./lifecycle.ts";
import type { Log } from "./log.ts";
import { startLoop } from "./loop.ts";

/** A report at most so often, milliseconds; none where nothing has changed: an idle fleet says nothing. */
const REPORT_EVERY_MS = 60_000;
/** Event of these reports; it is not counted in them. */
const REPORT = "counts_reported";

export interface CountReportsOptions {
  /** What the process counts beside its events; only ever grows. */
  counts: () => Record<string, number>;
  log: Log;
  /** This life of the process, where it has a name already. */
  bootId?: string;
  everyMs?: number;
}

/**
 * Puts on record what this process has counted, so that the auditor can tell whether the log has all of it (ADR 0029): at the
 * start, whenever something has changed for a minute, and when the process ends.
 */
export class CountReports {
  readonly #events: EventPublisher;
  readonly #options: CountReportsOptions;
  readonly #bootId: string;
  readonly #sinceMs = Date.now();
  readonly #loop;
  #report = 0;
  #last: unknown;

  constructor(events: EventPublisher, options: CountReportsOptions) {
    const { bootId = newId(), everyMs = REPORT_EVERY_MS, log } = options;
    this.#events = events;
    this.#options = options;
    this.#bootId = bootId;
    const onError = (error: unknown) => log.debug({ err: error }, "counts wait for the stream");
    this.#loop = startLoop({ name: "counts", everyMs, onError }, () => this.#tell());
  }

  /** Reports for as long as the process lives; the last word comes when what was registered before this is about to close. */
  static start(events: EventPublisher, lifecycle: Lifecycle, options: CountReportsOptions): void {
    const reports = new CountReports(events, options);
    lifecycle.onClose("counts", () => reports.close());
  }

  async close(): Promise<void> {
    await this.#loop.stop();
    try {
      this.#tell();
    } catch (error) {
      this.#options.log.debug({ err: error }, "the last counts could not be recorded");
    }
  }

  #tell(): void {
    const { [REPORT]: _own, ...events } = this.#events.tally.counts;
    const now = { events, left_over: this.#events.tally.leftOver, counts: this.#options.counts() };
    if (isDeepStrictEqual(now, this.#last)) return;
    this.#events.record(REPORT, {
      boot_id: this.#bootId,
      report: this.#report,
      since_unix_ms: this.#sinceMs,
      ...now,
    });
    this.#report++;
    this.#last = now;
  }
}
