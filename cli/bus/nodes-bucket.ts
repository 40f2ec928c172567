import { jetstream, jetstreamManager, type JetStreamManager } from "@nats-io/jetstream";
import { Invitation, MeshError, NodeEntry } from "../../bus-schemas/index.ts";
import type { z } from "zod";
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
  #invitation: { invitation: Invitation | undefined; revision: number } = { invitation: undefined, revision: 0 };
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

  /** The newest one, also when it is over; as of the last `refresh` or `putInvitation`. */
  get invitation(): Invitation | undefined {
    return this.#invitation.invitation;
  }

  find(nodeId: string): NodeEntry | undefined {
    return this.#held.get(nodeId)?.entry;
  }

  /** Reads what was written since the last time. A value that is no entry takes the node's right away. @throws what the bus says */
  async refresh(): Promise<void> {
    const { stream, keys, prefix, invitation } = this.#bus.subjects.nodesBucket;
    for (;;) {
      const message = await readKv(this.#manager, stream, { seq: this.#read + 1, next_by_subj: keys });
      if (message === undefined) return;
      this.#read = message.seq;
      if (message.subject === invitation) {
        const read = isDeletion(message) ? undefined : parsed(Invitation, message.string());
        this.#invitation = { invitation: read, revision: message.seq };
        continue;
      }
      const nodeId = message.subject.slice(prefix.length);
      const entry = isDeletion(message) ? undefined : parsed(NodeEntry, message.string());
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
    const revision = await this.#write(prefix + entry.node_id, entry, after, entry.node_id);
    this.#held.set(entry.node_id, { entry, revision });
  }

  /** Takes the place of the one before. @throws MeshError `conflict` when another keeper was first */
  async putInvitation(invitation: Invitation): Promise<void> {
    const { invitation: key } = this.#bus.subjects.nodesBucket;
    const revision = await this.#write(key, invitation, this.#invitation.revision, "the invitation");
    this.#invitation = { invitation, revision };
  }

  /** Compare and set. @returns its revision */
  async #write(subject: string, value: object, after: number, what: string): Promise<number> {
    try {
      const js = jetstream(this.#bus.nc, { timeout: KV_ANSWER_LIMIT_MS });
      const expect = { lastSubjectSequence: after };
      return (await js.publish(subject, JSON.stringify(value), { expect })).seq;
    } catch (error) {
      if (!isApiError(error, KV_ERR.wrongLastSequence)) throw error;
      throw new MeshError("conflict", `${what} was changed by somebody else at the same time; look, and try again`);
    }
  }

  /** Of a node that is not held: its last revision may be a deletion. */
  async #newest(nodeId: string): Promise<number> {
    const { stream, prefix } = this.#bus.subjects.nodesBucket;
    return (await readKv(this.#manager, stream, { last_by_subj: prefix + nodeId }))?.seq ?? 0;
  }
}

function parsed<T extends z.ZodType>(schema: T, text: string): z.output<T> | undefined {
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
