import { MeshError, type NodeRecord } from "../bus-schemas/index.ts";

/**
 * Which live node announces which key. A node that announces another's key as its own is not heard: what is sealed for it
 * could not be opened anyway, since the names are bound in (ADR 0011).
 */
export class SealKeyOwners {
  readonly #owner = new Map<string, string>();
  readonly #keys = new Map<string, readonly string[]>();

  /** @returns why the record is not believed, or undefined: its keys are this node's now. */
  claim({ node_id: nodeId, seal_keys: sealKeys }: NodeRecord): MeshError | undefined {
    const keys = sealKeys.map((key) => key.public_key);
    if (keys.some((key) => (this.#owner.get(key) ?? nodeId) !== nodeId))
      return new MeshError("forbidden", "seal_keys: another live node announces this key", { field: "seal_keys" });
    const before = this.#keys.get(nodeId) ?? [];
    // The usual heartbeat says the same as the one before.
    if (before.length === keys.length && before.every((key, i) => key === keys[i])) return undefined;
    this.release(nodeId);
    this.#keys.set(nodeId, keys);
    for (const key of keys) this.#owner.set(key, nodeId);
    return undefined;
  }

  /** The node left or is lost. */
  release(nodeId: string): void {
    for (const key of this.#keys.get(nodeId) ?? []) this.#owner.delete(key);
    this.#keys.delete(nodeId);
  }
}
