import { listenFirst } from "../../../router/listen-first.ts";
import type { RouterParts } from "../../../router/parts.ts";
import { Router } from "../../../router/router.ts";
import { sweepsOf } from "../../../router/sweeps.ts";
import { Tickets } from "../../../router/tickets.ts";
import { EventPublisher } from "../../../service/events.ts";
import { newId } from "../../../service/ids.ts";
import { startLoop } from "../../../service/loop.ts";
import { Rejections } from "../../../service/rejections.ts";
import { serveStructures } from "../../../service/structures-exchange.ts";
import type { Connection } from "../world/connection.ts";
import type { Proc } from "../world/world.ts";
import { Member, quietLog, unreadMetrics, unreadRouterMetrics } from "./parts.ts";
import { SimSpool } from "./spool.ts";

/** A router's life: its production parts, wired as router/main.ts does. */
export class SimRouter extends Member {
  #stop: () => Promise<void> = async () => undefined;
  #leftovers: () => string[] = () => [];

  protected override live(proc: Proc, connection: Connection): void {
    void this.#run(proc, connection).catch((error: unknown) => this.around.events.onThrow(proc, error, "start"));
  }

  override async stop(): Promise<void> {
    await this.#stop();
  }

  override leftovers(): string[] {
    return this.#leftovers();
  }

  async #run(proc: Proc, connection: Connection): Promise<void> {
    const { disk, history, policyOf, sabotage } = this.around;
    const log = quietLog(proc, history);
    const bus = sabotage.routerBus(connection.bus);
    const id = `${this.name}-${newId().slice(-8)}`;
    serveStructures(bus);
    const spool = SimSpool.open(disk, this.name);
    const events = new EventPublisher(bus, "router", this.name, log, spool);
    const rejections = new Rejections("router", events, unreadMetrics, log);
    const fleet = sabotage.fleetView(events);
    fleet.start(bus, rejections);
    const policy = () => policyOf(this.name);
    const random = () => proc.chance.next();
    const parts: RouterParts = {
      id,
      bus,
      fleet,
      events,
      rejections,
      metrics: unreadRouterMetrics,
      log,
      policy,
      random,
    };
    const dispatcher = sabotage.dispatcher(parts);
    const tickets = new Tickets(parts, dispatcher);
    const router = new Router(parts, dispatcher, tickets);
    dispatcher.caps.join(tickets.id, () => tickets.announce());
    const onError = (error: unknown) => log.error({ err: error }, "a sweep failed");
    const sweeps = sweepsOf(dispatcher, tickets, fleet).map(({ run, ...sweep }) =>
      startLoop({ ...sweep, onError }, run),
    );
    this.#leftovers = () => {
      const { waiting, running } = dispatcher.inFlight;
      const { tickets: out, sealed } = tickets.inFlight;
      const { gate, line } = dispatcher;
      const jobs = { waiting, running, tickets: out, sealed, gate: gate.size, line: line.size };
      const held = { ...jobs, events: events.pendingCount };
      const counts = Object.entries(held).filter(([, count]) => count > 0);
      const inFlight = [...fleet.fleet.views].filter(({ ownInFlight }) => ownInFlight > 0);
      return [
        ...counts.map(([what, count]) => `${what} ${count}`),
        ...inFlight.map(({ record, ownInFlight }) => `${ownInFlight} jobs believed on ${record.node_id}`),
      ];
    };
    let started = false;
    this.#stop = async () => {
      if (started) {
        await router.stop();
        await dispatcher.drain();
        dispatcher.caps.leave();
      }
      await Promise.all(sweeps.map((sweep) => sweep.stop()));
      await rejections.close();
      await events.close();
      await bus.drain();
    };
    await listenFirst(dispatcher.caps);
    dispatcher.start();
    tickets.start();
    router.start();
    started = true;
  }
}
