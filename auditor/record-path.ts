import {
  CANARY,
  CE_TYPE_PREFIX,
  HEADERS,
  NO_CLASS,
  eventSource,
  type AuditorName,
  type RecordPath,
} from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import { newId } from "../service/ids.ts";
import { headersFor } from "../service/messages.ts";
import type { Metrics } from "../service/metrics.ts";

/** An answer comes within this time, milliseconds, or the stream does not take events. */
const ANSWER_LIMIT_MS = 5000;
/** It is not well when so many canaries in a row did not come through. */
const MISSED = 3;

export interface RecordPathOptions {
  bus: Bus;
  name: AuditorName;
  everyMs: number;
  /** Only the auditor that writes sends canaries; both see them come. */
  isWriter: () => boolean;
  /** Tries whether the log's disk takes something. @throws the file system's errors */
  probe: () => Promise<void>;
  metrics: Metrics;
  nowMs?: () => number;
}

/**
 * Tells whether events come into the log by sending one: the stream must acknowledge it, give it out, and the recorder must come to it
 * with everything before it in the log, signed. A stream that is full, or that nobody may write to or read from, looks
 * well to who only asks it how it is.
 */
export class RecordPathWatch {
  readonly #options: RecordPathOptions;
  readonly #nowMs: () => number;
  readonly #startedAtMs: number;
  #ackedAtMs: number | undefined;
  #loggedAtMs: number | undefined;
  /** Why the newest one was not acknowledged. */
  #refused: string | null = null;

  /** @param options.nowMs a clock that never jumps */
  constructor(options: RecordPathOptions) {
    const { metrics, nowMs = () => performance.now() } = options;
    this.#options = options;
    this.#nowMs = nowMs;
    this.#startedAtMs = nowMs();
    const ok = metrics.gauge(
      "audit_record_path_ok",
      "1 while events come into the log, tried by one that is sent for that",
    );
    Object.assign(ok, { collect: () => ok.set(this.state.ok ? 1 : 0) });
    const age = metrics.gauge("audit_record_path_logged_age_ms", "How long ago such an event last came through");
    Object.assign(age, { collect: () => age.set(this.state.last_logged_ms ?? this.#ageMs(this.#startedAtMs)) });
  }

  /** One has come through. */
  readonly logged = (): void => {
    this.#loggedAtMs = this.#nowMs();
  };

  get state(): RecordPath {
    const problem = this.#problem();
    return {
      ok: problem === null,
      last_ack_ms: this.#ackedAtMs === undefined ? null : this.#ageMs(this.#ackedAtMs),
      last_logged_ms: this.#loggedAtMs === undefined ? null : this.#ageMs(this.#loggedAtMs),
      problem,
    };
  }

  /** Sends one. Never throws: what is wrong is in `state`. */
  async send(): Promise<void> {
    const { bus, isWriter, name, probe } = this.#options;
    if (!isWriter()) {
      this.#refused = null;
      return;
    }
    try {
      await probe();
    } catch (error) {
      this.#refused = `the log's disk takes nothing (${(error as NodeJS.ErrnoException).code ?? "unknown"})`;
      return;
    }
    this.#refused = await this.#publish(bus, name);
    if (this.#refused === null) this.#ackedAtMs = this.#nowMs();
  }

  /** @returns why it was not taken; null when it was */
  async #publish(bus: Bus, name: AuditorName): Promise<string | null> {
    const id = newId();
    const headers = headersFor("json", {
      [HEADERS.msgId]: id,
      [HEADERS.ceSpecVersion]: "1.0",
      [HEADERS.ceId]: id,
      [HEADERS.ceSource]: eventSource({ process: "auditor", name }),
      [HEADERS.ceType]: CE_TYPE_PREFIX + CANARY,
      [HEADERS.ceTime]: new Date().toISOString(),
    });
    const subject = bus.subjects.event(CANARY, NO_CLASS, "auditor", name);
    try {
      const body = JSON.stringify({ auditor: name });
      const answer = await bus.nc.request(subject, body, { headers, timeout: ANSWER_LIMIT_MS });
      const { error, stream } = answer.json<{ stream?: string; error?: { description?: string } }>();
      // A refusal names the stream as well.
      if (error === undefined && stream !== undefined) return null;
      return `the stream refuses events: ${error?.description?.slice(0, 100) ?? "no reason given"}`;
    } catch (error) {
      return `the stream does not answer (${error instanceof Error ? error.name : "unknown"})`;
    }
  }

  #problem(): string | null {
    if (this.#refused !== null) return this.#refused;
    const { everyMs } = this.#options;
    const sinceMs = this.#ageMs(this.#loggedAtMs ?? this.#startedAtMs);
    if (sinceMs <= MISSED * everyMs + ANSWER_LIMIT_MS) return null;
    return this.#options.isWriter()
      ? `the stream takes events, and the last one came into the log ${Math.round(sinceMs / 1000)} s ago`
      : `no event that tries the way has come for ${Math.round(sinceMs / 1000)} s`;
  }

  #ageMs(atMs: number): number {
    return Math.round(this.#nowMs() - atMs);
  }
}
