import { headers as newHeaders, type MsgHdrs } from "@nats-io/nats-core";
import { subjects } from "../../../bus-schemas/index.ts";
import type { AuditStream } from "./audit-stream.ts";
import type { World } from "./world.ts";

export interface Message {
  subject: string;
  data: Uint8Array;
  reply: string;
  headers: MsgHdrs | undefined;
}

/** A connection's end at the broker. */
export interface Peer {
  readonly name: string;
  deliver(sid: number, message: Message): void;
}

interface Interest {
  peer: Peer;
  sid: number;
  pattern: readonly string[];
  queue: string | undefined;
}

const NOTHING = new Uint8Array();

/**
 * A NATS server in memory, as far as core NATS goes: wildcards, queue groups (whose member is chosen by chance), and status 503
 * to a requester whose subject nobody listens on. It keeps nothing: who is not connected misses what is said.
 */
export class Broker {
  readonly audit: AuditStream;
  readonly #world: World;
  /** By a part of the subject that no pattern of ours leaves open. */
  readonly #interests = new Map<string, Interest[]>();
  readonly #chance;
  /** Connections so far, and the number of each that is open. */
  #count = 0;
  readonly #numbers = new Map<Peer, number>();

  constructor(world: World, audit: AuditStream) {
    this.#world = world;
    this.audit = audit;
    this.#chance = world.chance.fork("broker");
  }

  subscribe(peer: Peer, sid: number, subject: string, queue: string | undefined): void {
    const pattern = subject.split(".");
    const shelf = shelfOf(pattern);
    if (/[*>]/.test(shelf)) throw new RangeError(`${subject} leaves open what messages are found by here`);
    const interest: Interest = { peer, sid, pattern, queue };
    const there = this.#interests.get(shelf);
    if (there === undefined) this.#interests.set(shelf, [interest]);
    else there.push(interest);
  }

  unsubscribe(peer: Peer, sid: number): void {
    this.#drop((interest) => interest.peer === peer && interest.sid === sid);
  }

  /** A connection is there. */
  greet(peer: Peer): void {
    this.#numbers.set(peer, this.#count++);
    this.#advise("connect", peer);
  }

  /** The broker has noticed that a connection is gone. */
  forget(peer: Peer): void {
    this.#drop((interest) => interest.peer === peer);
    if (!this.#numbers.has(peer)) return;
    this.#advise("disconnect", peer);
    this.#numbers.delete(peer);
  }

  /** As nats-server says it in its system account, and its keeper hears it (ADR 0016). */
  #advise(what: "connect" | "disconnect", peer: Peer): void {
    const client = { id: this.#numbers.get(peer) ?? 0, nkey: peer.name.slice(0, peer.name.indexOf("#")) };
    const data = new TextEncoder().encode(JSON.stringify({ server: { id: "simulated" }, client }));
    const subject = subjects().advisory(what);
    this.publish(undefined, { subject, data, reply: "", headers: undefined });
  }

  publish(from: Peer | undefined, message: Message): void {
    const tokens = message.subject.split(".");
    if (tokens[0] === "mesh" && tokens[2] === "event") {
      const taken = this.audit.take(message, (ack) => this.#answer(message.reply, ack));
      if (!taken && from !== undefined) this.#nobody(from, message);
      return;
    }
    const groups = new Map<string, Interest[]>();
    let delivered = false;
    for (const interest of this.#matching(tokens)) {
      delivered = true;
      if (interest.queue === undefined) interest.peer.deliver(interest.sid, message);
      else groups.set(interest.queue, [...(groups.get(interest.queue) ?? []), interest]);
    }
    for (const members of groups.values()) {
      const { peer, sid } = this.#chance.pick(members);
      peer.deliver(sid, message);
    }
    if (!delivered && message.reply !== "" && from !== undefined) this.#nobody(from, message);
  }

  /** Only the requester itself hears that nobody listens (nats-server, `subForReply`). */
  #nobody(from: Peer, { reply, subject }: Message): void {
    this.#world.note(`nobody listens on ${subject}`);
    const headers = newHeaders(503, "No Responders");
    for (const { peer, sid } of this.#matching(reply.split(".")))
      if (peer === from) return peer.deliver(sid, { subject: reply, data: NOTHING, reply: "", headers });
  }

  #answer(reply: string, body: object): void {
    const data = new TextEncoder().encode(JSON.stringify(body));
    this.publish(undefined, { subject: reply, data, reply: "", headers: undefined });
  }

  #matching(tokens: readonly string[]): Interest[] {
    const shelf = this.#interests.get(shelfOf(tokens)) ?? [];
    return shelf.filter(({ pattern }) => matches(pattern, tokens));
  }

  #drop(match: (interest: Interest) => boolean): void {
    for (const [shelf, interests] of this.#interests) {
      const left = interests.filter((interest) => !match(interest));
      if (left.length === 0) this.#interests.delete(shelf);
      else this.#interests.set(shelf, left);
    }
  }
}

/** `mesh.main.job.run…` → `job.run`, `mesh.main.heartbeat…` → `heartbeat`, `_INBOX.name…` → `name`. */
function shelfOf(tokens: readonly string[]): string {
  if (tokens[0] !== "mesh") return tokens[1] ?? "";
  return tokens[2] === "job" ? `job.${tokens[3]}` : (tokens[2] ?? "");
}

function matches(pattern: readonly string[], tokens: readonly string[]): boolean {
  for (const [i, part] of pattern.entries()) {
    if (part === ">") return tokens.length > i;
    if (part !== "*" && part !== tokens[i]) return false;
  }
  return pattern.length === tokens.length;
}
