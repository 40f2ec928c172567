import { jetstream, jetstreamManager, type JetStreamManager, type StoredMsg } from "@nats-io/jetstream";
import type { z } from "zod";
import type { Bus } from "./bus.ts";
import { KV_ANSWER_LIMIT_MS, KV_ERR, ensureKv, isApiError, isDeletion, readKv, type KvBucket } from "./kv.ts";

/** A bucket of one key for each node. */
interface NodeBucket extends KvBucket {
  prefix: string;
  keys: string;
}

/** A JetStream KV bucket with one value for each node, written by compare-and-set: of two writers who saw the same, one wins. */
export class KvTable<T extends { node_id: string }> {
  readonly #bus: Bus;
  readonly #manager: JetStreamManager;
  readonly #bucket: NodeBucket;
  readonly #schema: z.ZodType<T>;
  readonly #held = new Map<string, { entry: T; revision: number }>();
  #read = 0;

  private constructor(bus: Bus, manager: JetStreamManager, bucket: NodeBucket, schema: z.ZodType<T>) {
    this.#bus = bus;
    this.#manager = manager;
    this.#bucket = bucket;
    this.#schema = schema;
  }

  /**
   * @param make how to make the bucket when there is none; left out, it is looked for when it is read
   * @throws what the bus says
   */
  static async open<T extends { node_id: string }>(
    bus: Bus,
    bucket: NodeBucket,
    schema: z.ZodType<T>,
    make?: Parameters<typeof ensureKv>[2],
  ): Promise<KvTable<T>> {
    const manager = await jetstreamManager(bus.nc, { timeout: KV_ANSWER_LIMIT_MS, checkAPI: false });
    if (make !== undefined) await ensureKv(manager, bucket, make);
    return new KvTable(bus, manager, bucket, schema);
  }

  /** As of the last `refresh` or `put`. */
  get entries(): T[] {
    return Array.from(this.#held.values(), ({ entry }) => entry);
  }

  find(nodeId: string): T | undefined {
    return this.#held.get(nodeId)?.entry;
  }

  /** Reads what was written since the last time. A value that is no entry counts as none. @throws what the bus says */
  async refresh(): Promise<void> {
    const { stream, keys } = this.#bucket;
    for (;;) {
      const message = await readKv(this.#manager, stream, { seq: this.#read + 1, next_by_subj: keys });
      if (message === undefined) return;
      this.#read = message.seq;
      this.#hold(message);
    }
  }

  /** Reads one node's entry as it is now. @throws what the bus says */
  async reread(nodeId: string): Promise<T | undefined> {
    const { prefix, stream } = this.#bucket;
    const message = await readKv(this.#manager, stream, { last_by_subj: prefix + nodeId });
    const known = this.#held.get(nodeId)?.revision ?? 0;
    if (known > (message?.seq ?? 0)) {
      // The bucket was made anew.
      this.#read = 0;
      this.#held.clear();
    }
    if (message === undefined) this.#held.delete(nodeId);
    else this.#hold(message);
    return this.find(nodeId);
  }

  /**
   * Writes an entry, if the one that is held is still the newest.
   * @returns false when somebody else was first: look again
   * @throws what the bus says
   */
  async put(entry: T): Promise<boolean> {
    const { prefix } = this.#bucket;
    const after = this.#held.get(entry.node_id)?.revision ?? (await this.#newest(entry.node_id));
    try {
      const js = jetstream(this.#bus.nc, { timeout: KV_ANSWER_LIMIT_MS });
      const expect = { lastSubjectSequence: after };
      const { seq } = await js.publish(prefix + entry.node_id, JSON.stringify(entry), { expect });
      this.#held.set(entry.node_id, { entry, revision: seq });
      return true;
    } catch (error) {
      if (!isApiError(error, KV_ERR.wrongLastSequence)) throw error;
      return false;
    }
  }

  #hold(message: StoredMsg): void {
    const nodeId = message.subject.slice(this.#bucket.prefix.length);
    const entry = isDeletion(message) ? undefined : this.#parse(message.string());
    // A look that was on its way may bring what is older than our own word.
    if ((this.#held.get(nodeId)?.revision ?? 0) > message.seq) return;
    if (entry?.node_id === nodeId) this.#held.set(nodeId, { entry, revision: message.seq });
    else this.#held.delete(nodeId);
  }

  /** Of a node that is not held: its last revision may be a deletion. */
  async #newest(nodeId: string): Promise<number> {
    const { prefix, stream } = this.#bucket;
    return (await readKv(this.#manager, stream, { last_by_subj: prefix + nodeId }))?.seq ?? 0;
  }

  #parse(text: string): T | undefined {
    try {
      return this.#schema.parse(JSON.parse(text));
    } catch {
      return undefined;
    }
  }
}
