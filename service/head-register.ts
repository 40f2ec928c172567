import { jetstream, jetstreamManager, type JetStreamManager } from "@nats-io/jetstream";
import { LogHead, MeshError } from "../bus-schemas/index.ts";
import type { Bus } from "./bus.ts";
import { KV_ANSWER_LIMIT_MS, KV_ERR, ensureKv, isApiError, isDeletion, readKv } from "./kv.ts";

/** The agreed head of the log, and the bucket's revision that holds it. */
export interface AgreedHead {
  revision: number;
  /** Undefined when the key was deleted by hand. */
  head: LogHead | undefined;
}

/**
 * Where the auditors agree on the log's head: one key in a JetStream KV bucket, changed only by who knows its newest
 * revision. So heads form one chain, whoever writes when (ADR 0027).
 */
export class HeadRegister {
  readonly #bus: Bus;
  readonly #manager: JetStreamManager;

  private constructor(bus: Bus, manager: JetStreamManager) {
    this.#bus = bus;
    this.#manager = manager;
  }

  /** Makes the bucket when there is none, as on a bus with permissions only its keeper may. @throws what the bus says */
  static async make(bus: Bus): Promise<HeadRegister> {
    const manager = await jetstreamManager(bus.nc, { timeout: KV_ANSWER_LIMIT_MS, checkAPI: false });
    const description = "Tiermesh auditors: who writes the log, and how far it is agreed on";
    await ensureKv(manager, bus.subjects.auditorBucket, { description, history: 1 });
    return new HeadRegister(bus, manager);
  }

  /** The newest head; undefined before the first. @throws MeshError `conflict` when it is none that can be read; what the bus says */
  async read(): Promise<AgreedHead | undefined> {
    const { stream, key } = this.#bus.subjects.auditorBucket;
    const message = await readKv(this.#manager, stream, { last_by_subj: key });
    if (message === undefined) return undefined;
    return { revision: message.seq, head: isDeletion(message) ? undefined : parse(message.string(), stream) };
  }

  /**
   * Writes the next head, if `after` is still the newest revision (0 = there is none).
   * @returns its revision
   * @throws MeshError `conflict` when somebody else was first. Any other error leaves open whether it was written.
   */
  async put(head: LogHead, after: number): Promise<number> {
    try {
      const ack = await jetstream(this.#bus.nc, { timeout: KV_ANSWER_LIMIT_MS }).publish(
        this.#bus.subjects.auditorBucket.key,
        JSON.stringify(head),
        { expect: { lastSubjectSequence: after } },
      );
      return ack.seq;
    } catch (error) {
      if (!isApiError(error, KV_ERR.wrongLastSequence)) throw error;
      throw new MeshError("conflict", "another auditor has the log's turn now", { cause: error });
    }
  }

  /** Calls `wake` when somebody tried to change the head: a sign to look, no more. */
  watch(wake: () => void): () => void {
    const subscription = this.#bus.listen(this.#bus.subjects.auditorBucket.key, wake);
    return () => subscription.unsubscribe();
  }
}

function parse(text: string, stream: string): LogHead {
  try {
    return LogHead.parse(JSON.parse(text));
  } catch (cause) {
    throw new MeshError("conflict", `${stream}: its value is no head of a log; was it changed by hand?`, { cause });
  }
}
