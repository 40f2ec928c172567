import type { Msg } from "@nats-io/nats-core";
import { z } from "zod";
import { NodeGone } from "../../bus-schemas/index.ts";
import { MOVING_MARK } from "../../service/bus-move.ts";
import type { Bus } from "../../service/bus.ts";
import { encode } from "../../service/codec.ts";
import type { Log } from "../../service/log.ts";
import { headersFor, readBody } from "../../service/messages.ts";

/**
 * What is read of a server's advisory on a connection (NATS: io.nats.server.advisory.v1.client_connect, client_disconnect).
 * Of what a client calls itself only whether it is moving is read: who lies about that makes its own death be noticed later.
 */
const Advisory = z.object({
  server: z.object({ id: z.string() }),
  client: z.object({
    id: z.number(),
    nkey: z.string().optional(),
    user: z.string().optional(),
    name: z.string().optional(),
  }),
  reason: z.string().optional(),
});
type Advisory = z.infer<typeof Advisory>;

export interface ConnectionsParts {
  bus: Bus;
  /** The node whose user has this public key, if it is a node's. */
  nodeOf: (publicKey: string) => string | undefined;
  log: Log;
}

/**
 * Tells the routers that a node's connection is lost, milliseconds after the broker has noticed (ADR 0016). The server's
 * advisories come here from its system account, in which nobody of the mesh is; what goes on is which node, and no more.
 * A node that has come back by another connection before its old one was found dead is not gone.
 */
export class Connections {
  readonly #parts: ConnectionsParts;
  /** By public key: connections that are open, as far as was heard. */
  readonly #open = new Map<string, Set<string>>();
  /** The same of those by which a client moves from a server that stops to another (service/bus-move.ts). */
  readonly #moving = new Map<string, Set<string>>();
  /** Keys whose only open connections are such. */
  readonly #onlyMoving = new Set<string>();

  constructor(parts: ConnectionsParts) {
    this.#parts = parts;
  }

  start(): void {
    const { bus, log } = this.#parts;
    const { advisory } = bus.subjects;
    bus.listen(advisory("connect"), (msg) => this.#read(msg, (key, id, advisory) => this.#opened(key, id, advisory)));
    bus.listen(advisory("disconnect"), (msg) =>
      this.#read(msg, (key, id, advisory) => this.#closed(key, id, advisory)),
    );
    void this.#followBus().catch((error: unknown) => log.warn({ err: error }, "the keeper's connection"));
  }

  #read(msg: Msg, then: (key: string, id: string, advisory: Advisory) => void): void {
    const advisory = readBody(msg, Advisory);
    const { client, server } = advisory;
    const key = client.nkey ?? client.user;
    if (key === undefined || this.#parts.nodeOf(key) === undefined) return;
    then(key, `${server.id} ${client.id}`, advisory);
  }

  #opened(key: string, id: string, { client }: Advisory): void {
    const moving = isMoving(client);
    add(moving ? this.#moving : this.#open, key, id);
    if (!moving) this.#onlyMoving.delete(key);
  }

  /**
   * A keeper that started later than a node knows nothing of its connection: then the end of the only one that it saw begin,
   * by which the node moved, must not be taken for the node's.
   */
  #closed(key: string, id: string, { client, reason }: Advisory): void {
    if (isMoving(client)) {
      if (remove(this.#moving, key, id) === 0 && this.#onlyMoving.delete(key)) this.#gone(key, reason);
      return;
    }
    if (remove(this.#open, key, id) > 0) return;
    if ((this.#moving.get(key)?.size ?? 0) > 0) this.#onlyMoving.add(key);
    else this.#gone(key, reason);
  }

  #gone(key: string, reason: string | undefined): void {
    const { bus, nodeOf } = this.#parts;
    const nodeId = nodeOf(key);
    if (nodeId === undefined || !bus.connected()) return;
    const gone = NodeGone.parse({ node_id: nodeId, reason: reason?.slice(0, 200) || null });
    bus.nc.publish(bus.subjects.nodeGone(nodeId), encode(gone, "json"), { headers: headersFor("json") });
  }

  /** What happened while the keeper itself was away it has not heard: connections that it knows of may be gone. */
  async #followBus(): Promise<void> {
    for await (const { type } of this.#parts.bus.nc.status()) {
      if (type !== "reconnect") continue;
      this.#open.clear();
      this.#moving.clear();
      this.#onlyMoving.clear();
    }
  }
}

function isMoving({ name }: Advisory["client"]): boolean {
  return name?.endsWith(MOVING_MARK) === true;
}

function add(map: Map<string, Set<string>>, key: string, id: string): void {
  const ids = map.get(key);
  if (ids === undefined) map.set(key, new Set([id]));
  else ids.add(id);
}

/** @returns how many are left */
function remove(map: Map<string, Set<string>>, key: string, id: string): number {
  const ids = map.get(key);
  ids?.delete(id);
  if (ids?.size === 0) map.delete(key);
  return ids?.size ?? 0;
}
