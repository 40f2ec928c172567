import { jetstream, jetstreamManager, type JetStreamManager } from "@nats-io/jetstream";
import { MeshError, NodeEntry } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import { KV_ANSWER_LIMIT_MS, KV_ERR, ensureKv, isApiError, isDeletion, readKv } from "../../service/kv.ts";

/** Revisions kept of each node. */
const HISTORY = 8;

interface Held {
  entry: NodeEntry;
  revision: number;
}

/** Which nodes may speak on the bus: a JetStream KV bucket with one key a node, so that every server's keeper has the same. */
export class NodesBucket {
  readonly #bus: Bus;
  readonly #manager: JetStreamManager;
  readonly #held = new Map<string, Held>();
  #read = 0;

  private constructor(bus: Bus, manager: JetStreamManager) {
    this.#bus = bus;
    this.#manager = manager;
  }

  /** Makes the bucket when there is none. @throws what the bus says */
  static async open(bus: Bus): Promise<NodesBucket> {
    const manager = await jetstreamManager(bus.nc, { timeout: KV_ANSWER_LIMIT_MS, checkAPI: false });
    const description = "Tiermesh nodes that may speak on this bus; see tiermesh node --help";
    await ensureKv(manager, bus.subjects.nodesBucket, { description, history: HISTORY });
    return new NodesBucket(bus, manager);
  }

  /** As of the last `refresh` or `put`. */
  get entries(): NodeEntry[] {
    return Array.from(this.#held.values(), ({ entry }) => entry);
  }

  find(nodeId: string): NodeEntry | undefined {
    return this.#held.get(nodeId)?.entry;
  }

  /** Reads what was written since the last time. A value that is no entry takes the node's right away. @throws what the bus says */
  async refresh(): Promise<void> {
    const { stream, keys, prefix } = this.#bus.subjects.nodesBucket;
    for (;;) {
      const message = await readKv(this.#manager, stream, { seq: this.#read + 1, next_by_subj: keys });
      if (message === undefined) return;
      this.#read = message.seq;
      const nodeId = message.subject.slice(prefix.length);
      const entry = isDeletion(message) ? undefined : parseEntry(message.string());
      if (entry?.node_id === nodeId) this.#held.set(nodeId, { entry, revision: message.seq });
      else this.#held.delete(nodeId);
    }
  }

  /**
   * Writes an entry, if the one that is held is still the newest: compare and set, so that a token is good once over all
   * servers.
   * @throws MeshError `conflict` when another keeper was first
   */
  async put(entry: NodeEntry): Promise<void> {
    const { prefix } = this.#bus.subjects.nodesBucket;
    const after = this.#held.get(entry.node_id)?.revision ?? (await this.#newest(entry.node_id));
    try {
      const js = jetstream(this.#bus.nc, { timeout: KV_ANSWER_LIMIT_MS });
      const expect = { lastSubjectSequence: after };
      const { seq } = await js.publish(prefix + entry.node_id, JSON.stringify(entry), { expect });
      this.#held.set(entry.node_id, { entry, revision: seq });
    } catch (error) {
      if (!isApiError(error, KV_ERR.wrongLastSequence)) throw error;
      throw new MeshError(
        "conflict",
        `${entry.node_id} was changed by somebody else at the same time; look, and try again`,
      );
    }
  }

  /** Of a node that is not held: its last revision may be a deletion. */
  async #newest(nodeId: string): Promise<number> {
    const { stream, prefix } = this.#bus.subjects.nodesBucket;
    return (await readKv(this.#manager, stream, { last_by_subj: prefix + nodeId }))?.seq ?? 0;
  }
}

function parseEntry(text: string): NodeEntry | undefined {
  try {
    return NodeEntry.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
