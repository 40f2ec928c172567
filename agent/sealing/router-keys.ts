import type { Msg } from "@nats-io/nats-core";
import { MeshError, RouterKey, lastToken, type Ticket } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import { readBody } from "../../service/messages.ts";
import type { Rejections } from "../../service/rejections.ts";
import { ticketVerifier } from "../../service/sealing/index.ts";

/** A router announces its key every second; one that is silent this long signs nothing any more, milliseconds. */
const KEEP_MS = 5000;
/** A ticket may be here before its router's first announcement is: right after our start or a lost connection, milliseconds. */
const WAIT_MS = 1200;
/** Tickets that wait for an announcement; a flood of forged ones is refused at once. */
const MAX_WAITING = 100;
/** More routers than this in one cell is an attack. */
const MAX_ROUTERS = 100;

interface Heard {
  kid: string;
  publicKey: string;
  verify: (token: string) => boolean;
  atMs: number;
}

/** The keys of the routers that are live now, as they announce them; the broker lets nobody else announce one. */
export class RouterKeys {
  readonly #rejections: Pick<Rejections, "add">;
  readonly #nowMs: () => number;
  readonly #heard = new Map<string, Heard>();
  readonly #waiting = new Set<() => void>();

  /** @param nowMs monotonic */
  constructor(rejections: Pick<Rejections, "add">, nowMs: () => number = () => performance.now()) {
    this.#rejections = rejections;
    this.#nowMs = nowMs;
  }

  start(bus: Bus): void {
    bus.listen(bus.subjects.routerKeys, (msg) => this.#onKey(msg));
  }

  /** Whether a live router signed this ticket. */
  async signed(ticket: Ticket, token: string): Promise<boolean> {
    const key = this.#find(ticket) ?? (await this.#wait(ticket));
    return key !== undefined && key.verify(token);
  }

  #find({ router, signer }: Ticket): Heard | undefined {
    const heard = this.#heard.get(router);
    return heard?.kid === signer && this.#nowMs() - heard.atMs <= KEEP_MS ? heard : undefined;
  }

  async #wait(ticket: Ticket): Promise<Heard | undefined> {
    if (this.#waiting.size >= MAX_WAITING) return undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = () => {
      if (this.#find(ticket) !== undefined) resolve();
    };
    this.#waiting.add(look);
    const timer = setTimeout(resolve, WAIT_MS);
    await promise;
    clearTimeout(timer);
    this.#waiting.delete(look);
    return this.#find(ticket);
  }

  #onKey(msg: Msg): void {
    const nowMs = this.#nowMs();
    try {
      const said = readBody(msg, RouterKey);
      // The broker's permissions guard the subject, not the body.
      if (said.router !== lastToken(msg.subject))
        throw new MeshError("forbidden", "router: not the router of the subject", { field: "router" });
      const known = this.#heard.get(said.router);
      if (known?.kid === said.kid && known.publicKey === said.public_key) known.atMs = nowMs;
      else {
        for (const [router, { atMs }] of this.#heard) if (nowMs - atMs > KEEP_MS) this.#heard.delete(router);
        if (this.#heard.size >= MAX_ROUTERS) throw new MeshError("rate_limited", "too many routers announce keys");
        const verify = ticketVerifier(said);
        this.#heard.set(said.router, { kid: said.kid, publicKey: said.public_key, verify, atMs: nowMs });
      }
    } catch (error) {
      return this.#rejections.add("router_key", MeshError.from(error));
    }
    for (const look of this.#waiting) look();
  }
}
