import type { Fleet } from "../policy/fleet.ts";

/** Who is in which network is gathered anew after this time, milliseconds: that costs a look at every node. */
const KEEP_MS = 1000;

/** Which nodes that are awake are in which network. */
export class Neighbours {
  readonly #fleet: Fleet;
  #byNetwork = new Map<string, string[]>();
  #gatheredAtMs = -Infinity;

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
  }

  /**
   * Nodes of a network, by name, beginning with another one each turn.
   * @param nodeId without this one
   * @param turn how often it was tried in vain
   */
  of(network: string, nodeId: string, turn: number, nowMs: number): string[] {
    if (Math.abs(nowMs - this.#gatheredAtMs) >= KEEP_MS) this.#gather(nowMs);
    const others = (this.#byNetwork.get(network) ?? []).filter((other) => other !== nodeId);
    const from = others.length === 0 ? 0 : turn % others.length;
    return [...others.slice(from), ...others.slice(0, from)];
  }

  #gather(nowMs: number): void {
    this.#gatheredAtMs = nowMs;
    this.#byNetwork = new Map();
    for (const { gone, record } of this.#fleet.views) {
      if (gone) continue;
      for (const network of record.networks) {
        const nodes = this.#byNetwork.get(network);
        if (nodes === undefined) this.#byNetwork.set(network, [record.node_id]);
        else nodes.push(record.node_id);
      }
    }
    for (const nodes of this.#byNetwork.values()) nodes.sort();
  }
}
