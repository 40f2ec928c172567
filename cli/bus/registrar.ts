import type { Msg } from "@nats-io/nats-core";
import {
  MeshError,
  NodeEntry,
  RegistryAdd,
  RegistryJoin,
  RegistryReader,
  RegistryReply,
  RegistryRevoke,
  isInbox,
  lastToken,
} from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import type { EventPublisher } from "../../service/events.ts";
import type { Log } from "../../service/log.ts";
import { startLoop, type Loop } from "../../service/loop.ts";
import { readBody, respond } from "../../service/messages.ts";
import type { Rejections } from "../../service/rejections.ts";
import { Asks, type NewEntry } from "./asks.ts";
import type { BusUsers, StillJoining } from "./bus-users.ts";
import { makeReader, removeReader } from "./event-readers.ts";
import type { NodesBucket } from "./nodes-bucket.ts";

/**
 * What another server's keeper wrote counts here within this time, milliseconds, and so a revoked node is cut everywhere
 * within a second: the message that says so at once may be lost, or be here before the bucket's leader can be asked.
 */
const LOOK_EVERY_MS = 500;
/** Asks of machines with an invitation that may wait for their turn: the holder of one may be anybody. */
const MAX_ASKS_WAITING = 32;
/** Keepers of several servers share the requests. */
const QUEUE_GROUP = "keeper";

export interface RegistrarParts {
  bus: Bus;
  bucket: NodesBucket;
  users: BusUsers;
  /** Brings the broker's accounts to this text. */
  setAccounts: (text: string) => Promise<void>;
  /** Addresses of the bus for other machines, and the authority of its certificates. */
  urls: readonly string[];
  caPem: string | null;
  events: Pick<EventPublisher, "record">;
  rejections: Pick<Rejections, "add">;
  log: Log;
  /** Wall clock. */
  nowMs: () => number;
}

/**
 * Serves who may join, and keeps the broker's accounts what the registry says (ADR 0013): a token is good once and for its
 * time, a revoked node is cut before the operator has his answer. Requests are served one after the other.
 */
export class Registrar {
  readonly #parts: RegistrarParts;
  #queue: Promise<unknown> = Promise.resolve();
  #applied: string | undefined;
  #loop: Loop | undefined;
  readonly #asks: Asks;

  constructor(parts: RegistrarParts) {
    this.#parts = parts;
    const { bucket, users, nowMs } = parts;
    const change = (entry: NewEntry) => this.#change(entry);
    this.#asks = new Asks({ bucket, users, nowMs, change, taken: (key) => this.#taken(key) });
  }

  /** @throws what the bus or the broker says, when the accounts cannot be brought up to date at all */
  async start(): Promise<void> {
    const { bus, log } = this.#parts;
    await this.#inTurn(() => this.#sync());
    this.#serve(bus.subjects.registryAdd, (msg) => this.#add(msg));
    this.#serve(bus.subjects.registryRevoke, (msg) => this.#revoke(msg));
    this.#serve(bus.subjects.registryInvite, (msg) => this.#asks.invite(msg));
    this.#serve(bus.subjects.registryDecide, (msg) => this.#asks.decide(msg));
    this.#serve(bus.subjects.registryAsk, (msg) => this.#asks.ask(msg), MAX_ASKS_WAITING);
    this.#serve(bus.subjects.registryList, async () => this.#parts.bucket.entries);
    this.#serve(bus.subjects.registryReader, (msg) => this.#reader(msg));
    this.#serve(bus.subjects.registryJoins, (msg) => this.#join(msg));
    const onError = (error: unknown) => log.warn({ err: error }, "the accounts of the bus could not be looked at");
    const look = () => this.#inTurn(() => this.#sync());
    // What the keeper of another server wrote counts here at once.
    bus.listen(bus.subjects.nodesBucket.keys, () => void look().catch(onError));
    // Who is told that the broker is there may ask at once.
    await bus.nc.flush();
    this.#loop = startLoop({ name: "registry", everyMs: LOOK_EVERY_MS, onError }, look);
  }

  async stop(): Promise<void> {
    await this.#loop?.stop();
    await this.#queue;
  }

  /** @param most requests that may wait for their turn; one more is answered with `all_busy` */
  #serve(subject: string, handle: (msg: Msg) => Promise<NodeEntry[]>, most = Infinity): void {
    const { bus, caPem, rejections, urls, log } = this.#parts;
    let waiting = 0;
    bus.listen(
      subject,
      (msg) => {
        if (waiting >= most) return this.#turnAway(msg);
        waiting++;
        void this.#inTurn(async () => {
          waiting--;
          let reply: Partial<RegistryReply>;
          try {
            // What JetStream delivers where its asker says has a reply subject of its own: that is nobody who may ask us.
            if (!isInbox(msg.reply ?? ""))
              throw new MeshError("bad_request", "reply: not an inbox", { field: "reply" });
            await this.#parts.bucket.refresh();
            reply = { entries: await handle(msg), urls: [...urls], ca_pem: caPem };
          } catch (cause) {
            const error = MeshError.from(cause, "internal", "the registry cannot be changed now; see the keeper's log");
            if (error.code === "internal") log.error({ err: cause }, "a request to the registry failed");
            rejections.add("registry", error);
            reply = { error: error.toWire() };
          }
          respond(msg, RegistryReply.parse(reply));
          await bus.nc.flush();
          await this.#sync();
        }).catch((error: unknown) => log.error({ err: error }, "a request to the registry could not be answered"));
      },
      QUEUE_GROUP,
    );
  }

  /** Whoever floods one subject keeps no operator waiting. */
  #turnAway(msg: Msg): void {
    const error = new MeshError("all_busy", "too many ask at this moment; come again in a minute");
    this.#parts.rejections.add("registry", error);
    if (isInbox(msg.reply ?? "")) respond(msg, RegistryReply.parse({ error: error.toWire() }));
  }

  async #add(msg: Msg): Promise<NodeEntry[]> {
    const { bucket, nowMs, users } = this.#parts;
    const { node_id, layer, join_key, hours, replace, by } = readBody(msg, RegistryAdd);
    if (users.isLocal(node_id))
      throw new MeshError("conflict", `${node_id} is the broker's own machine; it needs no token`, {
        field: "node_id",
      });
    if (bucket.find(node_id)?.state === "joined" && !replace)
      throw new MeshError("conflict", `${node_id} is in the mesh; revoke it first, or add it with --replace`, {
        field: "node_id",
      });
    const join_expires_unix_ms = Math.round(nowMs() + hours * 3_600_000);
    return this.#change({ node_id, layer, state: "pending", join_key, join_expires_unix_ms, public_key: null, by });
  }

  async #revoke(msg: Msg): Promise<NodeEntry[]> {
    const { bucket, bus, users } = this.#parts;
    const { node_id, by, reason } = readBody(msg, RegistryRevoke);
    if (users.isLocal(node_id))
      throw new MeshError("conflict", `${node_id} is the broker's own machine; stop its agent there`, {
        field: "node_id",
      });
    const entry = bucket.find(node_id);
    if (entry === undefined)
      throw new MeshError("not_found", `no node ${node_id}; see \`tiermesh node list\``, { field: "node_id" });
    if (entry.state === "revoked") return [entry];
    if (entry.reads !== undefined) await removeReader(bus, node_id);
    return this.#change({ ...entry, state: "revoked", join_key: null, join_expires_unix_ms: null, by, reason });
  }

  /** A reader of events: first its consumer, then the key that may read by it. */
  async #reader(msg: Msg): Promise<NodeEntry[]> {
    const { bucket, bus, users } = this.#parts;
    const { name, public_key, reads, from, by } = readBody(msg, RegistryReader);
    const entry = bucket.find(name);
    if (users.isLocal(name) || (entry !== undefined && entry.state !== "revoked"))
      throw new MeshError("conflict", `${name} is in use; choose another name, or revoke it first`, { field: "name" });
    if (this.#taken(public_key))
      throw new MeshError("conflict", "public_key: somebody else has this key", { field: "public_key" });
    await makeReader(bus, name, reads, from);
    const none = { join_key: null, join_expires_unix_ms: null };
    return this.#change({ node_id: name, layer: "L0", state: "joined", ...none, public_key, reads, by });
  }

  /** That the token's holder asks, the broker has checked: nobody else may publish on this node's subject. */
  async #join(msg: Msg): Promise<NodeEntry[]> {
    const { bucket, nowMs } = this.#parts;
    const nodeId = lastToken(msg.subject);
    const { public_key } = readBody(msg, RegistryJoin);
    const entry = bucket.find(nodeId);
    // Its first answer was lost.
    if (entry?.state === "joined" && entry.public_key === public_key) return [entry];
    const usable = entry?.state === "pending" && (entry.join_expires_unix_ms ?? 0) > nowMs() ? entry : undefined;
    if (usable === undefined || usable.join_key === null)
      throw new MeshError("forbidden", "the join token was used, is too old, or was replaced; ask for a new one");
    if (this.#taken(public_key))
      throw new MeshError("conflict", "public_key: another node has this key", { field: "public_key" });
    const joined = { ...usable, state: "joined" as const, join_key: null, join_expires_unix_ms: null, public_key };
    const by = `token by ${usable.by}`.slice(0, 200);
    return this.#change({ ...joined, by }, { key: usable.join_key, node: nodeId });
  }

  #taken(publicKey: string): boolean {
    return this.#parts.bucket.entries.some(({ public_key, join_key }) => [public_key, join_key].includes(publicKey));
  }

  async #change(entry: NewEntry, stillJoining?: StillJoining): Promise<NodeEntry[]> {
    const { bucket, events, nowMs } = this.#parts;
    const whole = NodeEntry.parse({ ...entry, reason: entry.reason ?? null, changed_unix_ms: nowMs() });
    await bucket.put(whole);
    await this.#sync(stillJoining);
    const { node_id, layer, state, by, reason, public_key, reads } = whole;
    const data = { node_id, layer, state, by, reason, public_key, ...(reads === undefined ? {} : { reads }) };
    events.record("node_admitted", data);
    return [whole];
  }

  async #sync(stillJoining?: StillJoining): Promise<void> {
    const { bucket, nowMs, setAccounts, users } = this.#parts;
    await bucket.refresh();
    const text = users.render(bucket.entries, nowMs(), { stillJoining, invitation: bucket.invitation });
    if (text === this.#applied) return;
    await users.keepEntries(bucket.entries);
    await setAccounts(text);
    this.#applied = text;
  }

  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const next = this.#queue.then(task);
    this.#queue = next.catch(() => undefined);
    return next;
  }
}
