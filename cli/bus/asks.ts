import type { Msg } from "@nats-io/nats-core";
import {
  ASK_KEPT_MS,
  MAX_ASKING,
  MeshError,
  RegistryAsk,
  RegistryDecide,
  RegistryInvite,
  type NodeEntry,
} from "../../bus-schemas/index.ts";
import { readBody } from "../../service/messages.ts";
import type { BusUsers } from "./bus-users.ts";
import type { NodesBucket } from "./nodes-bucket.ts";

/** An entry before it is written. */
export type NewEntry = Omit<NodeEntry, "reason" | "changed_unix_ms" | "hostname"> &
  Partial<Pick<NodeEntry, "reason" | "hostname">>;

export interface AsksParts {
  bucket: Pick<NodesBucket, "entries" | "find" | "invitation" | "putInvitation">;
  users: Pick<BusUsers, "isLocal">;
  /** Writes an entry, and brings the broker's accounts up to date. */
  change: (entry: NewEntry) => Promise<NodeEntry[]>;
  /** Whether another node, or a token, has this key. */
  taken: (publicKey: string) => boolean;
  /** Wall clock. */
  nowMs: () => number;
}

/**
 * Machines that ask to be let in by an invitation (ADR 0026). One that asked has no right on the bus but to ask again, until an
 * operator has decided on the very key that it showed.
 */
export class Asks {
  readonly #parts: AsksParts;

  constructor(parts: AsksParts) {
    this.#parts = parts;
  }

  /** @throws MeshError `bad_request` naming the field */
  async invite(msg: Msg): Promise<NodeEntry[]> {
    const { bucket, nowMs } = this.#parts;
    const { invitation, by } = readBody(msg, RegistryInvite);
    const before = bucket.invitation;
    if (invitation !== null) {
      const { invite_key, layer, hours } = invitation;
      await bucket.putInvitation({ invite_key, layer, expires_unix_ms: Math.round(nowMs() + hours * 3_600_000), by });
    } else if (before !== undefined && before.expires_unix_ms > nowMs())
      await bucket.putInvitation({ ...before, expires_unix_ms: nowMs(), by });
    return [];
  }

  /**
   * @returns what has become of the ask: pending, joined, or revoked when an operator said no
   * @throws MeshError `conflict` when the name or the key is somebody else's, `forbidden` when the invitation is over, `all_busy` while
   * too many wait
   */
  async ask(msg: Msg): Promise<NodeEntry[]> {
    const { bucket, change, nowMs, taken, users } = this.#parts;
    const { node_id, public_key, hostname } = readBody(msg, RegistryAsk);
    const { invitation } = bucket;
    const entry = bucket.find(node_id);
    if (entry?.public_key === public_key && !this.#isStale(entry)) return [entry];
    if (invitation === undefined || invitation.expires_unix_ms <= nowMs())
      throw new MeshError("forbidden", "the invitation is over; ask an operator for a new one (tiermesh node invite)");
    if (users.isLocal(node_id) || (entry !== undefined && !this.#isStale(entry)))
      throw new MeshError("conflict", `node_id: there is a ${node_id} already; ask under another name`, {
        field: "node_id",
      });
    if (entry?.public_key !== public_key && taken(public_key))
      throw new MeshError("conflict", "public_key: another node has this key", { field: "public_key" });
    if (bucket.entries.filter((one) => isAsking(one) && !this.#isStale(one)).length >= MAX_ASKING)
      throw new MeshError("all_busy", `${MAX_ASKING} machines wait for an operator already; come again later`);
    const { layer } = invitation;
    const by = `invitation by ${invitation.by}`.slice(0, 200);
    const none = { join_key: null, join_expires_unix_ms: null };
    return change({ node_id, layer, state: "pending", ...none, public_key, hostname, by });
  }

  /** @throws MeshError `not_found` when nobody of that name asks, `conflict` when it is another key that asks */
  async decide(msg: Msg): Promise<NodeEntry[]> {
    const { bucket, change } = this.#parts;
    const { node_id, public_key, approve, layer, by, reason } = readBody(msg, RegistryDecide);
    const entry = bucket.find(node_id);
    if (entry === undefined || !isAsking(entry))
      throw new MeshError("not_found", `no machine asks as ${node_id}; see \`tiermesh node list\``, {
        field: "node_id",
      });
    if (entry.public_key !== public_key)
      throw new MeshError("conflict", `another machine asks as ${node_id} now; look again: \`tiermesh node list\``, {
        field: "public_key",
      });
    const state = approve ? "joined" : "revoked";
    return change({ ...entry, state, layer: layer ?? entry.layer, by, reason: reason ?? (approve ? null : "denied") });
  }

  #isStale(entry: NodeEntry): boolean {
    return isAsking(entry) && entry.changed_unix_ms + ASK_KEPT_MS <= this.#parts.nowMs();
  }
}

/** Whether a machine waits for an operator under this name. */
export function isAsking({ state, public_key: key, join_key: token }: NodeEntry): boolean {
  return state === "pending" && key !== null && token === null;
}
