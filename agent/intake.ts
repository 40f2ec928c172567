import type { Msg } from "@nats-io/nats-core";
import {
  DATA_CLASSES,
  HEADERS,
  JobId,
  MeshError,
  isInbox,
  lastToken,
  type DataClass,
  type Layer,
  type Load,
  type Verdict,
} from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import { readCancel } from "../service/cancels.ts";
import { encode } from "../service/codec.ts";
import type { EventPublisher } from "../service/events.ts";
import type { Log } from "../service/log.ts";
import { header, headersFor } from "../service/messages.ts";
import type { Rejections } from "../service/rejections.ts";
import { learnFromPeer } from "../service/structures-exchange.ts";
import { within } from "../service/within.ts";
import { Answer } from "./answer.ts";
import { askOf, isAboutClass } from "./ask.ts";
import { Parcels } from "./durable/parcels.ts";
import { runEnded } from "./durable/run-ended.ts";
import { Endings } from "./endings.ts";
import { GoAheads } from "./go-aheads.ts";
import { HandedBack } from "./handed-back.ts";
import { Job, type Ended, type JobFacts } from "./job.ts";
import { refuse, type Ask } from "./model/admission.ts";
import type { EnergyMeter } from "./model/energy.ts";
import { Pulse } from "./pulse.ts";
import { queueOf, readRun } from "./run-message.ts";
import type { RuntimeDesk } from "./runtime-desk.ts";

export interface IntakeParts {
  nodeId: string;
  layer: Layer;
  bus: Bus;
  events: EventPublisher;
  rejections: Rejections;
  log: Log;
  desk: RuntimeDesk;
  /** Why the node takes no jobs now, or undefined. */
  closedBecause: () => string | undefined;
  load: () => Load;
  /** Why a model that is not loaded has no room here now, or undefined. */
  noRoomFor?: (model: string) => string | undefined;
  /** Of this machine; none where the jobs' work is done elsewhere. */
  energy?: EnergyMeter | undefined;
  onEnded: (job: Job, ended: Ended) => void;
}

/** Takes jobs off the bus: checks, accepts or refuses at once, and hands what was accepted to the runtimes' desk. */
export class Intake {
  readonly #parts: IntakeParts;
  readonly #jobs = new Map<string, Job>();
  readonly #parcels: Parcels;
  readonly #goAheads: GoAheads;
  readonly #pulse = new Pulse(() => this.#goAheads.askAll());
  readonly #handedBack: HandedBack;
  readonly #endings: Endings;
  #onIdle: () => void = () => undefined;
  /** Runs that it took, so far. */
  started = 0;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
    this.#parcels = new Parcels(parts.bus);
    this.#goAheads = new GoAheads(parts.bus);
    this.#endings = new Endings(parts.bus);
    this.#handedBack = new HandedBack(parts.bus);
  }

  get jobs(): ReadonlyMap<string, Job> {
    return this.#jobs;
  }

  /** Subscribes to this node's jobs of the classes its layer may hold: L2 never even hears of P0 and P1. */
  start(): void {
    const { bus, layer, nodeId } = this.#parts;
    for (const dataClass of layer === "L2" ? (["P2"] as const) : DATA_CLASSES) {
      bus.listen(bus.subjects.runs(dataClass, nodeId), (msg) => this.#onRun(msg, dataClass));
    }
    bus.listen(bus.subjects.cancels, (msg) => this.#onCancel(msg));
    this.#goAheads.start();
    this.#endings.start();
  }

  /** Waits until every job has ended; at the limit the rest fail with `draining`. */
  async drain(limitMs: number): Promise<void> {
    const ended = new Promise<void>((resolve) => {
      this.#onIdle = resolve;
      if (this.#jobs.size === 0) resolve();
    });
    if (await within(ended, limitMs)) return;
    for (const job of this.#jobs.values())
      job.stop(new MeshError("draining", "the agent stopped before the answer was complete"));
  }

  /** @param learned the table of the sender's build was asked for already */
  #onRun(msg: Msg, subjectClass: DataClass, learned = false): void {
    let facts: JobFacts;
    let ask: Ask;
    try {
      facts = readRun(msg, subjectClass);
      ask = askOf(facts, this.#parts.layer);
    } catch (error) {
      const rejection = MeshError.from(error);
      if (rejection.code === "codec_unknown" && !learned) {
        // A client of another build, in the middle of an upgrade: its router waits 250 ms for us, and the table is there within a few.
        void learnFromPeer(this.#parts.bus, header(msg, HEADERS.contentType)).then(() =>
          this.#onRun(msg, subjectClass, true),
        );
        return;
      }
      this.#parts.rejections.add("run", rejection);
      const jobId = JobId.safeParse(header(msg, HEADERS.job));
      if (jobId.success)
        this.tell(msg.reply, {
          type: "refused",
          job_id: jobId.data,
          node_id: this.#parts.nodeId,
          queue: queueOf(msg),
          load: this.#parts.load(),
          error: rejection.toWire(),
        });
      return;
    }
    const { bus } = this.#parts;
    const { fence, inbox, jobId } = facts;
    const plain = () => new Answer(bus, msg, inbox, facts.request.stream === true);
    const no = fence === undefined ? this.admit(facts, ask, plain, msg.reply) : this.#onDurable(msg, facts, ask, fence);
    if (no === undefined) return;
    // A node that is full is no news; classes that disagree are.
    if (isAboutClass(no)) this.#parts.rejections.add("run", no);
    const { load, nodeId } = this.#parts;
    this.tell(msg.reply, {
      type: "refused",
      job_id: jobId,
      node_id: nodeId,
      queue: facts.queue,
      load: load(),
      error: no.toWire(),
    });
  }

  /** A run of a durable job, or a router that goes on with one that another ordered. */
  #onDurable(msg: Msg, facts: JobFacts, ask: Ask, fence: number): MeshError | undefined {
    const { inbox, jobId } = facts;
    const to = { fence, inbox, verdicts: msg.reply };
    if (this.#parcels.isStale(jobId, fence))
      return new MeshError("no_node", "another router has taken this job over", { field: HEADERS.fence });
    if (this.#parcels.redirect(jobId, to)) {
      const job = this.#jobs.get(jobId);
      if (job !== undefined) job.facts.fence = fence;
      const { load, nodeId } = this.#parts;
      this.tell(msg.reply, { type: "accepted", job_id: jobId, node_id: nodeId, queue: facts.queue, load: load() });
      return undefined;
    }
    const answer = () =>
      new Answer(this.#parts.bus, msg, inbox, false, undefined, this.#parcels.open(jobId, to).deliver);
    return this.admit(facts, ask, answer, msg.reply);
  }

  /**
   * The node's own word on a job that was read: takes it and tells its router, or says why not.
   * @param answer makes the way back to the caller
   * @param verdicts where this job's router listens
   */
  admit(facts: JobFacts, ask: Ask, answer: () => Answer, verdicts: string | undefined): MeshError | undefined {
    const { desk, layer, closedBecause, noRoomFor } = this.#parts;
    const stance = { layer, closedBecause: closedBecause(), noRoom: noRoomFor?.(facts.model) };
    const no = this.#jobs.has(facts.jobId)
      ? new MeshError("all_busy", "this job already runs here")
      : refuse(ask, stance, desk.seats(facts.model), facts.model, Date.now());
    if (no !== undefined) return no;
    const job = this.#take(facts, answer(), verdicts);
    const common = { job_id: facts.jobId, node_id: this.#parts.nodeId, queue: facts.queue };
    const accept = (reply?: string) =>
      this.tell(verdicts, { type: "accepted", ...common, load: this.#parts.load() }, reply);
    if (facts.goAhead !== undefined) this.#goAheads.add(job, accept);
    if (facts.goAhead !== "at once") accept();
    return undefined;
  }

  #take(facts: JobFacts, answer: Answer, verdicts: string | undefined): Job {
    const { desk, energy, layer, nodeId, rejections } = this.#parts;
    const guard = {
      held: facts.goAhead !== undefined,
      beforeWord: (about: Job, last: boolean) => {
        this.#pulse.check();
        this.#goAheads.beforeWord(about, last);
      },
    };
    const onEnded = (ended: Ended) => {
      this.#jobs.delete(facts.jobId);
      this.#goAheads.remove(job);
      const parcel = facts.fence === undefined ? undefined : this.#parcels.find(facts.jobId);
      if (ended.superseded) parcel?.gone();
      // Its place is free before the load is told.
      this.#parts.onEnded(job, ended);
      const { status, timing, handedBack: handed_back, event } = ended;
      const common = { job_id: facts.jobId, node_id: nodeId, queue: facts.queue };
      const word = { type: "ended" as const, ...common, status, timing, error: event.error, handed_back };
      const router = parcel?.to.verdicts ?? verdicts;
      const { tellAnyway } = ended;
      const tell = () => {
        tellAnyway?.();
        this.#record(facts, ended);
      };
      const take = tellAnyway === undefined ? undefined : this.#handedBack.add(facts.jobId, tell);
      if (router !== undefined)
        this.#endings.add((reply) => this.tell(router, { ...word, load: this.#parts.load() }, reply), take);
      if (facts.fence !== undefined) this.#recordRun(facts, facts.fence, ended);
      else if (!ended.superseded && !ended.handedBack) this.#record(facts, ended);
      // Admission took it and the egress gate did not: one of the two walls has a hole.
      const { error } = ended.event;
      if (error !== null && isAboutClass(error)) rejections.add("egress", MeshError.fromWire(error));
      if (this.#jobs.size > 0) return;
      this.#pulse.stop();
      this.#onIdle();
    };
    const job: Job = new Job(facts, answer, { nodeId, layer, energy, ...desk.placeOf(facts.model) }, onEnded, guard);
    // Only while there is something to be late with: an idle node has no reason to wake up four times a second.
    if (this.#jobs.size === 0) this.#pulse.start();
    this.#jobs.set(facts.jobId, job);
    this.started++;
    desk.enqueue(job);
    return job;
  }

  /** What became of one run of a durable job; its ending is its router's to record. */
  #recordRun(facts: JobFacts, fence: number, { event }: Ended): void {
    const { events, layer, log, nodeId } = this.#parts;
    const { dataClass, jobId, traceparent } = facts;
    try {
      events.record("job_run_ended", runEnded(facts, fence, event, nodeId, layer), { dataClass, traceparent });
    } catch (error) {
      log.error({ err: error, job: jobId }, "an ending could not be recorded");
    }
  }

  #record({ jobId, dataClass, traceparent }: JobFacts, { event }: Ended): void {
    try {
      this.#parts.events.record("job_ended", event, { dataClass, traceparent });
    } catch (error) {
      this.#parts.log.error({ err: error, job: jobId }, "an ending could not be recorded");
    }
  }

  #onCancel(msg: Msg): void {
    const jobId = lastToken(msg.subject);
    this.#handedBack.superseded(jobId);
    const job = this.#jobs.get(jobId);
    const parcel = this.#parcels.find(jobId);
    if (job === undefined && parcel === undefined) return;
    const { superseded, fence, node_id: nodeId } = readCancel(msg);
    // The job goes on here; another node's try of it is meant.
    if (nodeId !== undefined && nodeId !== this.#parts.nodeId) return;
    // A durable run that was ordered later than what is to be stopped goes on.
    if (fence !== undefined && (parcel === undefined || parcel.to.fence >= fence)) return;
    if (job !== undefined) job.cancel(superseded);
    else if (fence !== undefined) parcel?.gone();
  }

  /** The bus is back: tells the routers what could not be told, and asks what of the jobs here is still this node's. */
  catchUp(): void {
    this.#goAheads.askAll();
    this.#endings.catchUp();
  }

  /** Tells a router. Whatever subject a message names, an agent speaks there only if it is one for verdicts, or an inbox. */
  tell(reply = "", verdict: Verdict, answerTo?: string): void {
    const { bus, nodeId } = this.#parts;
    const { nc, subjects } = bus;
    const [router = "", , dispatch = ""] = reply.split(".").slice(-3);
    if (nc.isClosed() || nc.isDraining() || (reply !== subjects.verdict(router, nodeId, dispatch) && !isInbox(reply)))
      return;
    const to = answerTo === undefined ? {} : { reply: answerTo };
    nc.publish(reply, encode(verdict, "shared"), { headers: headersFor("shared"), ...to });
  }
}
