import type { Msg } from "@nats-io/nats-core";
import type { Bus } from "../service/bus.ts";
import type { Log } from "../service/log.ts";
import { startLoop, type Loop } from "../service/loop.ts";
import type { MeshState } from "./mesh.ts";

/** Routers announce themselves as a NATS micro service of this name (service/micro.ts). */
const ROUTER_SERVICE = "tiermesh-router";
/** How often the routers are asked whether they are there, milliseconds. */
const PING_EVERY_MS = 1000;
/** A router that has not answered for this long is not counted, milliseconds: two pings lost and some delay. */
const FORGET_AFTER_MS = 2500;

/**
 * Knows whether the bus is connected and how many routers answer, so that `/health` never has to wait. Routers are asked
 * by the micro protocol's `$SRV.PING.<name>`, to which every instance answers with its own id.
 */
export class MeshWatch implements MeshState {
  readonly #bus: Bus;
  readonly #seenAtMs = new Map<string, number>();
  readonly #loop: Loop;
  readonly #close: () => void;

  constructor(bus: Bus, log: Log) {
    this.#bus = bus;
    const inbox = `${bus.inbox}.routers`;
    const answers = bus.listen(inbox, (msg) => this.#onAnswer(msg));
    this.#close = () => answers.unsubscribe();
    this.#loop = startLoop(
      {
        name: "router-ping",
        everyMs: PING_EVERY_MS,
        onError: (error) => log.debug({ err: error }, "routers could not be asked"),
      },
      () => {
        if (bus.connected()) bus.nc.publish(`$SRV.PING.${ROUTER_SERVICE}`, "", { reply: inbox });
      },
    );
  }

  get busConnected(): boolean {
    return this.#bus.connected();
  }

  get routers(): number {
    const beforeMs = performance.now() - FORGET_AFTER_MS;
    for (const [id, atMs] of this.#seenAtMs) if (atMs < beforeMs) this.#seenAtMs.delete(id);
    return this.#seenAtMs.size;
  }

  async close(): Promise<void> {
    this.#close();
    await this.#loop.stop();
  }

  #onAnswer(msg: Msg): void {
    // No responders: the broker itself says that no router listens.
    if (msg.headers?.code === 503 && msg.data.length === 0) return this.#seenAtMs.clear();
    const { id } = msg.json<{ id?: unknown }>();
    if (typeof id === "string") this.#seenAtMs.set(id, performance.now());
  }
}
