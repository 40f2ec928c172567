import type { Msg, Subscription } from "@nats-io/nats-core";
import { MeshError, ROUTER_QUEUE_GROUP, isInbox, type JobRequest } from "../../bus-schemas/index.ts";
import { startLoop } from "../../service/loop.ts";
import type { Dispatcher } from "../dispatcher.ts";
import type { RouterParts } from "../parts.ts";
import { Endings } from "./endings.ts";
import { FrontDesk } from "./front-desk.ts";
import { JobStore } from "./job-store.ts";
import { OperatorDesk } from "./operator-desk.ts";
import type { DurableParts } from "./parts.ts";
import { Puller } from "./puller.ts";
import { QueueDepths } from "./queue-depths.ts";
import { Runner } from "./runner.ts";
import { Runs } from "./runs.ts";
import { WaitingLine } from "./waiting-line.ts";

/** Jobs in hand look for a node so often, milliseconds. */
const LOOK_EVERY_MS = 100;

/** The durable part of a router (ADR 0019), wired. */
export class DurableJobs {
  readonly #parts: DurableParts;
  readonly #front: FrontDesk;
  readonly #operators: OperatorDesk;
  readonly #puller: Puller;
  readonly #line: WaitingLine;
  readonly #runs: Runs;
  #subscriptions: Subscription[] = [];
  #looks: { stop(): Promise<void> } | undefined;

  private constructor(parts: DurableParts) {
    this.#parts = parts;
    const endings = new Endings(parts);
    const holder = `${parts.bus.inbox}.holds`;
    this.#line = new WaitingLine(parts);
    this.#runs = new Runs(parts);
    const runner = new Runner(parts, this.#line, this.#runs, endings, holder);
    this.#puller = new Puller(parts, runner, endings, holder);
    this.#front = new FrontDesk(parts, this.#runs, endings);
    this.#operators = new OperatorDesk(parts, new QueueDepths(parts));
  }

  /** @param keepMs how long states and results are kept after a job's end, milliseconds */
  static async open(
    parts: RouterParts,
    { gate, verdicts }: Pick<Dispatcher, "gate" | "verdicts">,
    keepMs?: number,
  ): Promise<DurableJobs> {
    const store = await JobStore.open(parts.bus, keepMs);
    return new DurableJobs({ ...parts, gate, verdicts, store });
  }

  get inFlight(): { durable_in_hand: number; durable_running: number } {
    return { durable_in_hand: this.#puller.inHand, durable_running: this.#runs.size };
  }

  start(): void {
    const { bus, log } = this.#parts;
    this.#runs.start();
    this.#puller.start();
    const onError = (error: unknown) => log.error({ err: error }, "a durable job could not be placed");
    this.#looks = startLoop({ name: "waiting durable jobs", everyMs: LOOK_EVERY_MS, onError }, () => this.#line.tick());
    this.#subscriptions = [
      this.#serve(bus.subjects.status, (msg) => this.#front.status(msg)),
      this.#serve(bus.subjects.withdraw, (msg) => this.#front.withdraw(msg)),
      this.#serve(bus.subjects.desks, (msg) => this.#operators.answer(msg)),
    ];
  }

  /** Requests, shared among the routers. */
  #serve(subject: string, answer: (msg: Msg) => Promise<void>): Subscription {
    const { bus, rejections } = this.#parts;
    const handler = (msg: Msg) => {
      // What JetStream delivers where its asker says has a reply subject of its own: that is nobody who may ask here.
      if (isInbox(msg.reply ?? "")) void answer(msg);
      else rejections.add("queue", new MeshError("bad_request", "reply: not an inbox", { field: "reply" }));
    };
    return bus.listen(subject, handler, ROUTER_QUEUE_GROUP);
  }

  /** Keeps a job that says that it is durable. @throws MeshError why not */
  keep(msg: Msg, job: JobRequest, saidId: string | undefined, queue: string): Promise<void> {
    return this.#front.keep(msg, job, saidId, queue);
  }

  /** Gives what it has to other routers. */
  async stop(): Promise<void> {
    await Promise.all(this.#subscriptions.map((subscription) => subscription.drain()));
    await this.#looks?.stop();
    await this.#puller.stop();
    this.#line.stop();
  }
}
