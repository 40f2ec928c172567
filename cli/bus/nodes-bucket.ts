import { jetstream, jetstreamManager, type JetStreamManager } from "@nats-io/jetstream";
import { Invitation, MeshError, NodeEntry } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import { KvTable } from "../../service/kv-table.ts";
import { KV_ANSWER_LIMIT_MS, KV_ERR, isApiError, isDeletion, readKv } from "../../service/kv.ts";

/** Revisions kept of each node. */
const HISTORY = 8;

/**
 * Which nodes may speak on the bus: a JetStream KV bucket with one key a node, so that every server's keeper has the same. One
 * key more holds the invitation by which machines may ask to join.
 */
export class NodesBucket {
  readonly #bus: Bus;
  readonly #manager: JetStreamManager;
  readonly #table: KvTable<NodeEntry>;
  #invitation: { invitation: Invitation | undefined; revision: number } = { invitation: undefined, revision: 0 };

  private constructor(bus: Bus, manager: JetStreamManager, table: KvTable<NodeEntry>) {
    this.#bus = bus;
    this.#manager = manager;
    this.#table = table;
  }

  /** Makes the bucket when there is none. @throws what the bus says */
  static async open(bus: Bus): Promise<NodesBucket> {
    const description = "Tiermesh nodes that may speak on this bus; see tiermesh node --help";
    const make = { description, history: HISTORY };
    const table = await KvTable.open(bus, bus.subjects.nodesBucket, NodeEntry, make);
    const manager = await jetstreamManager(bus.nc, { timeout: KV_ANSWER_LIMIT_MS, checkAPI: false });
    return new NodesBucket(bus, manager, table);
  }

  /** As of the last `refresh` or `put`. */
  get entries(): NodeEntry[] {
    return this.#table.entries;
  }

  /** The newest one, also when it is over; as of the last `refresh` or `putInvitation`. */
  get invitation(): Invitation | undefined {
    return this.#invitation.invitation;
  }

  find(nodeId: string): NodeEntry | undefined {
    return this.#table.find(nodeId);
  }

  /** Reads what was written since the last time. A value that is no entry takes the node's right away. @throws what the bus says */
  async refresh(): Promise<void> {
    await this.#table.refresh();
    const { invitation: key, stream } = this.#bus.subjects.nodesBucket;
    const message = await readKv(this.#manager, stream, { last_by_subj: key });
    if (message === undefined || message.seq <= this.#invitation.revision) return;
    const invitation = isDeletion(message) ? undefined : parsed(message.string());
    this.#invitation = { invitation, revision: message.seq };
  }

  /**
   * Writes an entry, if the one that is held is still the newest: compare and set, so that a token is good once over all
   * servers.
   * @throws MeshError `conflict` when another keeper was first
   */
  async put(entry: NodeEntry): Promise<void> {
    if (!(await this.#table.put(entry))) throw outrun(entry.node_id);
  }

  /** Takes the place of the one before. @throws MeshError `conflict` when another keeper was first */
  async putInvitation(invitation: Invitation): Promise<void> {
    const { invitation: key } = this.#bus.subjects.nodesBucket;
    try {
      const js = jetstream(this.#bus.nc, { timeout: KV_ANSWER_LIMIT_MS });
      const expect = { lastSubjectSequence: this.#invitation.revision };
      const { seq: revision } = await js.publish(key, JSON.stringify(invitation), { expect });
      this.#invitation = { invitation, revision };
    } catch (error) {
      if (!isApiError(error, KV_ERR.wrongLastSequence)) throw error;
      throw outrun("the invitation");
    }
  }
}

function outrun(what: string): MeshError {
  return new MeshError("conflict", `${what} was changed by somebody else at the same time; look, and try again`);
}

function parsed(text: string): Invitation | undefined {
  try {
    return Invitation.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
