import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import {
  INVITATION_ECHO_MS,
  MeshError,
  NodeEntry,
  TOOL_INBOX,
  UserKey,
  ownInbox,
  type Invitation,
  type Layer,
  type Role,
} from "../../bus-schemas/index.ts";
import { keptNkey, type UserNkey } from "../../service/access/nkey-file.ts";
import { replaceFile } from "../../service/bus-server/index.ts";
import { renderAccounts, type BusUser } from "./accounts-config.ts";

/** Roles that have one user each; nodes have one of their own, and a token has one until it was used. */
export const SHARED_ROLES = [
  "keeper",
  "router",
  "gateway",
  "auditor",
  "monitor",
  "operator",
  "client",
  "security",
  "inspector",
] as const satisfies Role[];

/** A node of the broker's own machine: it has its key without a token. */
export interface LocalNode {
  nodeId: string;
  layer: Layer;
  publicKey: string;
}

/** The operator's second user, for the nats command line and other tools that make their inboxes where all do. */
const TOOLS = "operator-tools";

/** Roles and the operator's second user, as their key files are called. */
export const KEY_NAMES = [...SHARED_ROLES, TOOLS] as const;
export type KeyName = (typeof KEY_NAMES)[number];

/** A token that was just used. */
export interface StillJoining {
  key: string;
  node: string;
}

/** Whether operators are security officers and auditors as well. */
export type Duties = "one" | "separate";

/** What the broker needs of a user's key. */
type PublicKey = Pick<UserNkey, "publicKey" | "inbox">;

/**
 * The users of one bus: the keys of the shared roles in `<folder>/keys`, the nodes as the registry has them. A server of a
 * cluster holds of most roles the public half only (`router.pub`): who breaks into it has no router's key.
 */
export class BusUsers {
  readonly #folder: string;
  readonly #cell: string;
  readonly #keys = new Map<string, PublicKey>();
  readonly #locals: readonly LocalNode[];
  readonly #duties: Duties;

  /** Makes the keys that are missing. @throws MeshError `bad_config` naming a file that cannot be used */
  constructor(folder: string, cell: string, locals: readonly LocalNode[], duties: Duties = "one") {
    this.#duties = duties;
    this.#folder = folder;
    this.#cell = cell;
    this.#locals = locals;
    mkdirSync(join(folder, "keys"), { recursive: true, mode: 0o700 });
    for (const name of KEY_NAMES) this.#keys.set(name, this.#publicHalf(name) ?? keptNkey(this.keyFile(name)));
  }

  /** Where the key of a role is; in a cluster it may be on another machine. */
  keyFile(name: KeyName): string {
    return join(this.#folder, "keys", `${name}.nk`);
  }

  publicKey(name: KeyName): string {
    return this.#keys.get(name)?.publicKey ?? "";
  }

  /** Of a role whose key itself is kept elsewhere. */
  #publicHalf(name: KeyName): PublicKey | undefined {
    const file = join(this.#folder, "keys", `${name}.pub`);
    if (existsSync(this.keyFile(name)) || !existsSync(file)) return undefined;
    const key = UserKey.safeParse(readFileSync(file, "utf8").trim());
    if (!key.success) throw new MeshError("bad_config", `${file}: is not a NATS user's public nkey`);
    return { publicKey: key.data, inbox: ownInbox(key.data) };
  }

  isLocal(nodeId: string): boolean {
    return this.#locals.some((local) => local.nodeId === nodeId);
  }

  /** The node whose user has this public key: one of this machine, or one that joined. */
  nodeOf(publicKey: string, entries: readonly NodeEntry[]): string | undefined {
    const local = this.#locals.find((node) => node.publicKey === publicKey);
    return (
      local?.nodeId ?? entries.find((entry) => entry.public_key === publicKey && entry.reads === undefined)?.node_id
    );
  }

  /**
   * The accounts file for these entries.
   * @param stillJoining the user of a token that was just used: its holder waits for the answer
   */
  render(
    entries: readonly NodeEntry[],
    nowMs: number,
    { stillJoining, invitation }: { stillJoining?: StillJoining | undefined; invitation?: Invitation | undefined } = {},
  ): string {
    // Nobody is two: then no key of the three can do what another's is for.
    const operator = this.#duties === "separate" ? "administrator" : "operator";
    const shared = SHARED_ROLES.map((name) =>
      this.#user(name === "operator" ? operator : name, name, this.#keys.get(name)),
    );
    const tools = {
      ...this.#user(operator, TOOLS, this.#keys.get(TOOLS)),
      holder: { cell: this.#cell, inbox: TOOL_INBOX },
    };
    const nodes = entries.flatMap((entry) => this.#usersOf(entry, nowMs));
    const joining = stillJoining === undefined ? [] : [this.#joinUser(stillJoining.key, stillJoining.node)];
    const locals = this.#locals.map((local) => this.#node(local.nodeId, local.layer, local.publicKey));
    const inviting = invitation === undefined ? [] : this.#inviteUser(invitation, nowMs);
    return renderAccounts([...shared, tools, ...locals, ...nodes, ...joining, ...inviting], this.#cell);
  }

  /** The entries that the last keeper of this folder wrote down: the broker's first accounts, before its bucket can be read. */
  lastEntries(): NodeEntry[] {
    try {
      return z.array(NodeEntry).parse(JSON.parse(readFileSync(this.#entriesFile, "utf8")));
    } catch {
      return [];
    }
  }

  async keepEntries(entries: readonly NodeEntry[]): Promise<void> {
    if (entries.length > 0 || existsSync(this.#entriesFile))
      await replaceFile(this.#entriesFile, JSON.stringify(entries, null, 1));
  }

  get #entriesFile(): string {
    return join(this.#folder, "nodes.json");
  }

  #usersOf(entry: NodeEntry, nowMs: number): BusUser[] {
    const { node_id: nodeId, layer, state, public_key: publicKey, join_key: joinKey } = entry;
    if (this.isLocal(nodeId)) return [];
    if (state === "joined" && publicKey !== null && entry.reads !== undefined) return [this.#reader(nodeId, publicKey)];
    if (state === "joined" && publicKey !== null) return [this.#node(nodeId, layer, publicKey)];
    if (state === "pending" && joinKey !== null && (entry.join_expires_unix_ms ?? 0) > nowMs)
      return [this.#joinUser(joinKey, nodeId)];
    return [];
  }

  #node(node: string, layer: Layer, publicKey: string): BusUser {
    const role = layer === "L2" ? "egress" : "agent";
    const holder = { cell: this.#cell, inbox: ownInbox(publicKey), node, layer };
    return { role, publicKey, label: `${role} ${node}, ${layer}`, holder };
  }

  #reader(name: string, publicKey: string): BusUser {
    const holder = { cell: this.#cell, inbox: ownInbox(publicKey), node: name };
    return { role: "reader", publicKey, label: `reader ${name}`, holder };
  }

  #joinUser(publicKey: string, node: string): BusUser {
    const holder = { cell: this.#cell, inbox: ownInbox(publicKey), node };
    return { role: "join", publicKey, label: `join token of ${node}`, holder };
  }

  /** Who asked by it hears for a while after its end what became of that. */
  #inviteUser({ invite_key: publicKey, expires_unix_ms: endMs }: Invitation, nowMs: number): BusUser[] {
    if (endMs + INVITATION_ECHO_MS <= nowMs) return [];
    const holder = { cell: this.#cell, inbox: ownInbox(publicKey) };
    return [{ role: "invite", publicKey, label: "invitation", holder }];
  }

  #user(role: Role, label: string, nkey: PublicKey | undefined): BusUser {
    const { publicKey = "", inbox = "" } = nkey ?? {};
    return { role, publicKey, label, holder: { cell: this.#cell, inbox } };
  }
}
