import type { MsgHdrs } from "@nats-io/nats-core";
import { HEADERS, lastToken } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";

/** A result is sent again until a router has stored it, milliseconds. */
const AGAIN_AFTER_MS = 2000;
/** After this time nobody will come for it any more, milliseconds. */
const KEEP_MS = 10 * 60_000;
/** Jobs whose newest fencing token is remembered after their run. */
const MAX_REMEMBERED = 10_000;

/** Where a run's router is, which may change while it runs. */
interface Address {
  /** Fencing token under which it wants the result. */
  fence: number;
  inbox: string;
  /** Where it hears verdicts. */
  verdicts: string | undefined;
}

/** The result of one durable run: from its start until a router has it. */
export class Parcel {
  readonly #bus: Bus;
  readonly #onGone: () => void;
  readonly #replies: string;
  #to: Address;
  #content: { data: Uint8Array; headers: MsgHdrs } | undefined;
  #timers: NodeJS.Timeout[] = [];

  constructor(bus: Bus, to: Address, replies: string, onGone: () => void) {
    this.#bus = bus;
    this.#to = to;
    this.#replies = replies;
    this.#onGone = onGone;
  }

  get to(): Address {
    return this.#to;
  }

  /** Another router goes on with the job: what is here already goes to it at once. */
  redirect(to: Address): void {
    this.#to = to;
    if (this.#content !== undefined) this.#send();
  }

  /** The result is here. @throws what the library does for a message that the bus does not take */
  readonly deliver = (data: Uint8Array, headers: MsgHdrs): void => {
    this.#content = { data, headers };
    this.#send();
    // A too large one is replaced by its error: one timer of each kind serves both.
    this.drop();
    this.#timers = [
      setInterval(() => this.#again(), AGAIN_AFTER_MS).unref(),
      setTimeout(() => this.gone(), KEEP_MS).unref(),
    ];
  };

  /** Nobody wants it any more. */
  gone(): void {
    this.drop();
    this.#onGone();
  }

  /** Stops sending. */
  drop(): void {
    for (const timer of this.#timers) clearTimeout(timer);
  }

  #again(): void {
    if (this.#bus.connected() && !this.#bus.nc.isDraining()) this.#send();
  }

  #send(): void {
    if (this.#content === undefined || this.#bus.nc.isClosed()) return;
    const { data, headers } = this.#content;
    headers.set(HEADERS.fence, String(this.#to.fence));
    this.#bus.nc.publish(this.#to.inbox, data, { headers, reply: this.#replies });
  }
}

/**
 * What this node owes to routers for durable jobs, and the highest fencing token of each: it takes no run with a lower one, so
 * a router that was away cannot begin a job again that another has taken over.
 */
export class Parcels {
  readonly #bus: Bus;
  readonly #open = new Map<string, Parcel>();
  readonly #newest = new Map<string, number>();
  #listening = false;

  constructor(bus: Bus) {
    this.#bus = bus;
  }

  find(jobId: string): Parcel | undefined {
    return this.#open.get(jobId);
  }

  /** Whether a run under this token comes after one that was ordered later. */
  isStale(jobId: string, fence: number): boolean {
    return fence <= (this.#newest.get(jobId) ?? -1);
  }

  /** A run begins. */
  open(jobId: string, to: Address): Parcel {
    if (!this.#listening) {
      this.#listening = true;
      this.#bus.listen(`${this.#bus.inbox}.parcel.*`, (msg) => {
        // Without a body it is the broker, who says that the router is gone: another will come for it.
        if (msg.data.length > 0) this.#open.get(lastToken(msg.subject))?.gone();
      });
    }
    const parcel: Parcel = new Parcel(this.#bus, to, `${this.#bus.inbox}.parcel.${jobId}`, () => {
      if (this.#open.get(jobId) === parcel) this.#open.delete(jobId);
    });
    this.#open.set(jobId, parcel);
    this.#remember(jobId, to.fence);
    return parcel;
  }

  /** A router goes on with a run that another ordered. @returns false when there is none */
  redirect(jobId: string, to: Address): boolean {
    const parcel = this.#open.get(jobId);
    parcel?.redirect(to);
    if (parcel !== undefined) this.#remember(jobId, to.fence);
    return parcel !== undefined;
  }

  #remember(jobId: string, fence: number): void {
    this.#newest.delete(jobId);
    this.#newest.set(jobId, fence);
    if (this.#newest.size <= MAX_REMEMBERED) return;
    for (const oldest of this.#newest.keys()) return void this.#newest.delete(oldest);
  }
}
