import type { Bus } from "../service/bus.ts";
import { encode } from "../service/codec.ts";
import type { EventPublisher } from "../service/events.ts";
import type { Log } from "../service/log.ts";
import { startLoop, type Loop } from "../service/loop.ts";
import { headersFor } from "../service/messages.ts";
import type { Metrics } from "../service/metrics.ts";
import type { Auditor } from "./auditor.ts";
import type { SearchDesk } from "./search/search-desk.ts";

/** Name of the alert rule. */
const RULE = "audit_gap";

export interface GapWatchParts {
  bus: Bus;
  auditor: Pick<Auditor, "health" | "signedLog">;
  search: SearchDesk;
  events: EventPublisher;
  metrics: Metrics;
  log: Log;
  everyMs: number;
}

/** Looks for gaps in the log again and again; each is an event, an alert and a count. */
export class GapWatch {
  readonly #parts: GapWatchParts;
  readonly #count;
  readonly #loop: Loop;
  #found = 0;

  constructor(parts: GapWatchParts) {
    const { everyMs, log, metrics } = parts;
    this.#parts = parts;
    this.#count = metrics.counter("audit_gaps_total", "What was found missing in the record", ["kind"]);
    const onError = (error: unknown) => log.warn({ err: error }, "the log could not be looked through for gaps");
    this.#loop = startLoop({ name: "gaps", everyMs, onError }, () => this.#look());
  }

  /** Gaps found since the start. */
  get found(): number {
    return this.#found;
  }

  stop(): Promise<void> {
    return this.#loop.stop();
  }

  async #look(): Promise<void> {
    const { auditor, bus, events, log, search } = this.#parts;
    // Whoever writes says what is missing; two would say it twice.
    if (auditor.signedLog === undefined) return;
    const { ok, pending, tree_size: size } = auditor.health;
    // While events wait to be recorded, what is missing may be among them.
    if (!ok || pending > 0 || search.state.problem !== null || search.state.indexed < (size ?? 0)) return;
    for (const gap of await search.ask({ kind: "gaps", nowMs: Date.now(), steadyMs: performance.now() })) {
      log.error(gap, "the record is not whole");
      events.record("audit_gap", gap);
      bus.nc.publish(bus.subjects.alert(gap.severity, RULE), encode(gap, "json"), { headers: headersFor("json") });
      this.#count.inc({ kind: gap.kind });
      this.#found++;
    }
  }
}
