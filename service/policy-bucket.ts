import { headers as newHeaders } from "@nats-io/nats-core";
import { jetstream, jetstreamManager, type JetStreamManager, type StoredMsg } from "@nats-io/jetstream";
import { HEADERS, MeshError } from "../bus-schemas/index.ts";
import type { Bus } from "./bus.ts";
import { KV_ANSWER_LIMIT_MS, KV_ERR, ensureKv, isApiError, isDeletion, readKv, readable } from "./kv.ts";

/** Revisions that are kept; the most that NATS ADR-8 allows. */
const HISTORY = 64;
/** One revision of the routing policy, whether it is a good one or not. */
export interface PolicyRevision {
  /** Counted up by the bus; never used twice while the bucket lives. */
  revision: number;
  /** The file's own text; undefined when the key was deleted by this revision. */
  text: string | undefined;
  by: string;
  note: string | undefined;
  at: Date;
}

export interface Authorship {
  by: string;
  note?: string | undefined;
  /** The revision that must still be the newest; 0 = there is none. */
  after: number;
}

/**
 * The routing policy's place on the bus: one key in a JetStream KV bucket, its value the YAML text as a person wrote it, so
 * that `nats kv get` and `put` work on it by hand. It is spoken to as the stream that it is (NATS ADR-8).
 */
export class PolicyBucket {
  readonly #bus: Bus;
  readonly #manager: JetStreamManager;

  private constructor(bus: Bus, manager: JetStreamManager) {
    this.#bus = bus;
    this.#manager = manager;
  }

  /** Makes no bucket: `put` does. @throws what the bus says */
  static async open(bus: Bus): Promise<PolicyBucket> {
    return new PolicyBucket(bus, await jetstreamManager(bus.nc, { timeout: KV_ANSWER_LIMIT_MS, checkAPI: false }));
  }

  /** Changes when anything in the bucket does; undefined while there is no revision in it. */
  async state(): Promise<string | undefined> {
    try {
      const { created, state } = await this.#manager.streams.info(this.#bus.subjects.policyBucket.stream);
      return state.messages === 0 ? undefined : `${created} ${state.last_seq}`;
    } catch (error) {
      if (isApiError(error, KV_ERR.streamNotFound)) return undefined;
      throw error;
    }
  }

  /** The newest revision. */
  latest(): Promise<PolicyRevision | undefined> {
    return this.#read({ last_by_subj: this.#bus.subjects.policyBucket.key });
  }

  /** @returns undefined when it was never there, or is no longer kept */
  async revision(revision: number): Promise<PolicyRevision | undefined> {
    return revision < 1 ? undefined : this.#read({ seq: revision });
  }

  /** What is kept, newest first; read one by one, as far as the caller goes. */
  async *newestFirst(): AsyncGenerator<PolicyRevision, void, undefined> {
    const newest = await this.latest();
    if (newest === undefined) return;
    yield newest;
    const oldest = (await this.#manager.streams.info(this.#bus.subjects.policyBucket.stream)).state.first_seq;
    for (let seq = newest.revision - 1; seq >= oldest; seq--) {
      const revision = await this.revision(seq);
      if (revision !== undefined) yield revision;
    }
  }

  /**
   * Writes the next revision, if `after` is still the newest: compare and set.
   * @returns its number
   * @throws MeshError `conflict` when another came first, `payload_too_large`
   */
  async put(text: string, { by, note, after }: Authorship): Promise<number> {
    const { name, key } = this.#bus.subjects.policyBucket;
    const largest = this.#bus.nc.info?.max_payload ?? Infinity;
    if (Buffer.byteLength(text) + 2000 > largest)
      throw new MeshError("payload_too_large", `the policy is larger than a message on this bus, ${largest} bytes`);
    const description = "Tiermesh routing policy; see tiermesh policy --help";
    await ensureKv(this.#manager, this.#bus.subjects.policyBucket, { description, history: HISTORY });
    const headers = newHeaders();
    headers.set(HEADERS.policyBy, encodeURIComponent(by));
    if (note !== undefined) headers.set(HEADERS.policyNote, encodeURIComponent(note));
    try {
      const ack = await jetstream(this.#bus.nc, { timeout: KV_ANSWER_LIMIT_MS }).publish(key, text, {
        headers,
        expect: { lastSubjectSequence: after },
      });
      return ack.seq;
    } catch (error) {
      if (!isApiError(error, KV_ERR.wrongLastSequence)) throw error;
      const newest = await this.latest();
      const who = newest === undefined ? "" : `: revision ${newest.revision} by ${newest.by}`;
      throw new MeshError("conflict", `somebody else changed the bucket ${name} meanwhile${who}; nothing was applied`);
    }
  }

  async #read(query: { seq: number } | { last_by_subj: string }): Promise<PolicyRevision | undefined> {
    const { stream, key } = this.#bus.subjects.policyBucket;
    const message = await readKv(this.#manager, stream, query);
    return message?.subject === key ? toRevision(message) : undefined;
  }
}

function toRevision(message: StoredMsg): PolicyRevision {
  return {
    revision: message.seq,
    text: isDeletion(message) ? undefined : message.string(),
    by: readable(message.header?.get(HEADERS.policyBy)) ?? "unknown",
    note: readable(message.header?.get(HEADERS.policyNote)),
    at: message.time,
  };
}
