import type { Msg } from "@nats-io/nats-core";
import { z } from "zod";
import { NodeGone } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import { encode } from "../../service/codec.ts";
import type { Log } from "../../service/log.ts";
import { headersFor, readBody } from "../../service/messages.ts";

/**
 * What is read of a server's advisory on a connection (NATS: io.nats.server.advisory.v1.client_connect, client_disconnect).
 * The server takes what a client calls itself into it too; only its own words are read.
 */
const Advisory = z.object({
  server: z.object({ id: z.string() }),
  client: z.object({ id: z.number(), nkey: z.string().optional(), user: z.string().optional() }),
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

  constructor(parts: ConnectionsParts) {
    this.#parts = parts;
  }

  start(): void {
    const { bus, log } = this.#parts;
    const { advisory } = bus.subjects;
    bus.listen(advisory("connect"), (msg) => this.#read(msg, (key, id) => this.#opened(key, id)));
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

  #opened(key: string, id: string): void {
    const open = this.#open.get(key);
    if (open === undefined) this.#open.set(key, new Set([id]));
    else open.add(id);
  }

  #closed(key: string, id: string, { reason }: Advisory): void {
    const { bus, nodeOf } = this.#parts;
    const open = this.#open.get(key);
    open?.delete(id);
    if ((open?.size ?? 0) > 0) return;
    this.#open.delete(key);
    const nodeId = nodeOf(key);
    if (nodeId === undefined || !bus.connected()) return;
    const gone = NodeGone.parse({ node_id: nodeId, reason: reason?.slice(0, 200) || null });
    bus.nc.publish(bus.subjects.nodeGone(nodeId), encode(gone, "json"), { headers: headersFor("json") });
  }

  /** What happened while the keeper itself was away it has not heard: connections that it knows of may be gone. */
  async #followBus(): Promise<void> {
    for await (const { type } of this.#parts.bus.nc.status()) if (type === "reconnect") this.#open.clear();
  }
}
