import { MeshError, NodeEntry } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import { KvTable } from "../../service/kv-table.ts";

/** Revisions kept of each node. */
const HISTORY = 8;

/** Which nodes may speak on the bus: a JetStream KV bucket with one key a node, so that every server's keeper has the same. */
export class NodesBucket {
  readonly #table: KvTable<NodeEntry>;

  private constructor(table: KvTable<NodeEntry>) {
    this.#table = table;
  }

  /** Makes the bucket when there is none. @throws what the bus says */
  static async open(bus: Bus): Promise<NodesBucket> {
    const description = "Tiermesh nodes that may speak on this bus; see tiermesh node --help";
    return new NodesBucket(
      await KvTable.open(bus, bus.subjects.nodesBucket, NodeEntry, { description, history: HISTORY }),
    );
  }

  /** As of the last `refresh` or `put`. */
  get entries(): NodeEntry[] {
    return this.#table.entries;
  }

  find(nodeId: string): NodeEntry | undefined {
    return this.#table.find(nodeId);
  }

  /** Reads what was written since the last time. A value that is no entry takes the node's right away. @throws what the bus says */
  async refresh(): Promise<void> {
    await this.#table.refresh();
  }

  /**
   * Writes an entry, if the one that is held is still the newest: compare and set, so that a token is good once over all
   * servers.
   * @throws MeshError `conflict` when another keeper was first
   */
  async put(entry: NodeEntry): Promise<void> {
    if (await this.#table.put(entry)) return;
    const why = `${entry.node_id} was changed by somebody else at the same time; look, and try again`;
    throw new MeshError("conflict", why);
  }
}
