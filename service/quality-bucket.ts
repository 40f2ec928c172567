import { headers as newHeaders } from "@nats-io/nats-core";
import { jetstream, jetstreamManager, type JetStreamManager, type StoredMsg } from "@nats-io/jetstream";
import {
  HEADERS,
  MeshError,
  QualityEntry,
  parseOrThrow,
  parseQualityKey,
  qualityKey,
  type QualitySubject,
} from "../bus-schemas/index.ts";
import type { Bus } from "./bus.ts";
import { KV_ANSWER_LIMIT_MS, KV_ERR, ensureKv, isApiError, isDeletion, readKv, readable } from "./kv.ts";

/** Revisions kept of each key: behind one that is garbage a router that starts finds the last good one. */
const HISTORY = 16;
const DESCRIPTION = "Tiermesh quality of models per task type; see tiermesh quality --help";

/** One revision of a key in the bucket. */
export interface QualityRevision {
  /** Counted up by the bus, over all keys. */
  revision: number;
  key: string;
  /** Undefined when the key is none of ours. */
  subject: QualitySubject | undefined;
  /** The entry, `null` when it was unset, or why it is none. */
  value: QualityEntry | null | MeshError;
  /** Who wrote it, as that person's program says; undefined = it does not say. */
  by: string | undefined;
}

/** What changes when anything in the bucket does. */
export interface QualityState {
  created: string;
  lastRevision: number;
  /** Shrinks only when something was purged. */
  messages: number;
}

/** The quality of models per task type, a JetStream KV bucket: one key each, a JSON value (bus-schemas/quality.ts). */
export class QualityBucket {
  readonly #bus: Bus;
  readonly #manager: JetStreamManager;

  private constructor(bus: Bus, manager: JetStreamManager) {
    this.#bus = bus;
    this.#manager = manager;
  }

  /** Makes no bucket: `put` does. @throws what the bus says */
  static async open(bus: Bus): Promise<QualityBucket> {
    return new QualityBucket(bus, await jetstreamManager(bus.nc, { timeout: KV_ANSWER_LIMIT_MS, checkAPI: false }));
  }

  /** Makes the bucket when there is none. @throws what the bus says */
  static async make(bus: Bus): Promise<void> {
    const manager = await jetstreamManager(bus.nc, { timeout: KV_ANSWER_LIMIT_MS, checkAPI: false });
    await ensureKv(manager, bus.subjects.qualityBucket, { description: DESCRIPTION, history: HISTORY });
  }

  /** Undefined while there is no bucket. */
  async state(): Promise<QualityState | undefined> {
    try {
      const { created, state } = await this.#manager.streams.info(this.#bus.subjects.qualityBucket.stream);
      return { created, lastRevision: state.last_seq, messages: state.messages };
    } catch (error) {
      if (isApiError(error, KV_ERR.streamNotFound)) return undefined;
      throw error;
    }
  }

  /** What is kept behind a revision, oldest first; a key may come more than once. */
  async *after(revision: number): AsyncGenerator<QualityRevision, void, undefined> {
    const { stream, keys } = this.#bus.subjects.qualityBucket;
    for (let seq = revision + 1; ;) {
      const message = await readKv(this.#manager, stream, { seq, next_by_subj: keys });
      if (message === undefined) return;
      yield this.#toRevision(message);
      seq = message.seq + 1;
    }
  }

  /** @returns the revision. @throws MeshError `bad_request` naming what is wrong */
  async put(subject: QualitySubject, entry: QualityEntry, by?: string): Promise<number> {
    return this.#write(subject, JSON.stringify(parseOrThrow(QualityEntry, entry)), by);
  }

  /** Takes an entry back; the default counts again. */
  async unset(subject: QualitySubject, by?: string): Promise<number> {
    return this.#write(subject, undefined, by);
  }

  async #write(subject: QualitySubject, text: string | undefined, by: string | undefined): Promise<number> {
    const bucket = this.#bus.subjects.qualityBucket;
    const key = bucket.prefix + qualityKey(subject);
    await ensureKv(this.#manager, bucket, { description: DESCRIPTION, history: HISTORY });
    const headers = newHeaders();
    if (text === undefined) headers.set("KV-Operation", "DEL");
    if (by !== undefined) headers.set(HEADERS.policyBy, encodeURIComponent(by));
    const js = jetstream(this.#bus.nc, { timeout: KV_ANSWER_LIMIT_MS });
    return (await js.publish(key, text ?? "", { headers })).seq;
  }

  #toRevision(message: StoredMsg): QualityRevision {
    const key = message.subject.slice(this.#bus.subjects.qualityBucket.prefix.length);
    const subject = parseQualityKey(key);
    const value = isDeletion(message) ? null : entryOf(message, subject);
    return { revision: message.seq, key, subject, value, by: readable(message.header?.get(HEADERS.policyBy)) };
  }
}

function entryOf(message: StoredMsg, subject: QualitySubject | undefined): QualityEntry | MeshError {
  try {
    if (subject === undefined) throw new MeshError("bad_request", "key: not <task>.<model>", { field: "key" });
    return parseOrThrow(QualityEntry, message.json());
  } catch (error) {
    return error instanceof MeshError ? error : new MeshError("bad_request", "the value is not JSON");
  }
}
