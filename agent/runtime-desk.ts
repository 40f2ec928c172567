import { MeshError, coldStartMs, type RuntimeRecord, type ServedModel } from "../bus-schemas/index.ts";
import type { Job } from "./job.ts";
import { shareOf } from "./manners/slots.ts";
import { totalLoad, type Seats } from "./model/admission.ts";
import type { RuntimeState } from "./runtimes/runtime.ts";
import { SentRequests } from "./sent-requests.ts";
import type { WorkThread } from "./work/work-thread.ts";

/** What a desk needs of the work thread. */
type Work = Pick<WorkThread, "run" | "cancel">;

interface Desk {
  state: RuntimeState;
  running: Set<Job>;
  queue: Job[];
}

/** The runtimes of this node with their slots and waiting lines: first come, first served within a runtime. */
export class RuntimeDesk {
  readonly #work: () => Work;
  readonly #slots: (record: RuntimeRecord) => number;
  readonly #desks = new Map<string, Desk>();
  readonly #sent = new SentRequests();
  /** Of each runtime's slots, what may be used now. */
  #share = 1;

  /** @param slots of a runtime, where others know better than it tells itself */
  constructor(work: () => Work, slots: (record: RuntimeRecord) => number = (record) => record.slots) {
    this.#work = work;
    this.#slots = slots;
  }

  /** Heat takes a share of the slots (manners/heat.ts); what runs goes on. */
  limit(share: number): void {
    this.#share = share;
    for (const desk of this.#desks.values()) this.#fill(desk);
  }

  /**
   * What the work thread found just now; a runtime that is gone or ill keeps its running jobs, and its waiting ones fail.
   * @returns whether what can be used has changed, which routers should know at once
   */
  update(told: readonly RuntimeState[]): boolean {
    const before = this.#usable();
    const names = new Set(told.map((state) => state.record.name));
    this.#sent.take(told);
    for (const { record, models } of told) {
      const state = { record: { ...record, slots: this.#slots(record) }, models };
      const desk = this.#desks.get(state.record.name);
      if (desk === undefined) this.#desks.set(state.record.name, { state, running: new Set(), queue: [] });
      else desk.state = state;
    }
    for (const { state, queue } of this.#desks.values()) {
      const { healthy, name, status_reason: reason } = state.record;
      if (healthy || reason === null) continue;
      for (const job of queue.splice(0)) job.fail(new MeshError("runtime_failed", `the runtime ${name} ${reason}`));
    }
    for (const [name, desk] of this.#desks) {
      if (names.has(name)) continue;
      desk.state = { record: { ...desk.state.record, healthy: false }, models: [] };
      for (const job of desk.queue.splice(0)) job.fail(new MeshError("runtime_failed", `the runtime ${name} is gone`));
      if (desk.running.size === 0) this.#desks.delete(name);
    }
    for (const desk of this.#desks.values()) this.#fill(desk);
    return this.#usable() !== before;
  }

  #usable(): string {
    const states = Array.from(this.#desks.values(), ({ state: { record, models } }) =>
      record.healthy ? [record.name, models.map(({ name }) => name)] : [],
    );
    return JSON.stringify(states);
  }

  /** Requests that have left for cloud providers since this process began. */
  get requestsSent(): number {
    return this.#sent.total;
  }

  get runtimes(): RuntimeRecord[] {
    return [...this.#desks.values()].map((desk) => desk.state.record);
  }

  get models(): ServedModel[] {
    return [...this.#desks.values()].flatMap((desk) => desk.state.models);
  }

  /** Seats of the runtime that would run this model, or undefined when none serves it. */
  seats(model: string): Seats | undefined {
    const desk = this.#deskFor(model);
    return desk === undefined ? undefined : this.#seatsOf(desk);
  }

  /** What a caller should know about the runtime that would run this model. */
  placeOf(model: string): { diagnostic: boolean; coldStartMs: number } {
    const state = this.#deskFor(model)?.state;
    const served = state?.models.find(({ name }) => name === model);
    return {
      diagnostic: state?.record.diagnostic ?? false,
      coldStartMs: served === undefined ? 0 : coldStartMs(served),
    };
  }

  /** Load over the real runtimes; over the diagnostic one where there is no other. */
  load() {
    const desks = [...this.#desks.values()];
    const real = desks.filter((desk) => !desk.state.record.diagnostic);
    const counted = real.some((desk) => desk.state.record.healthy) ? real : desks;
    let pendingPrefillTokens = 0;
    for (const desk of counted) {
      for (const job of [...desk.running, ...desk.queue])
        if (job.prefilling) pendingPrefillTokens += job.facts.promptTokens;
    }
    return totalLoad(
      counted.map((desk) => this.#seatsOf(desk)),
      pendingPrefillTokens,
    );
  }

  /**
   * The machine is taken back, or one of its runtimes: every job ends here now, and goes on elsewhere where somebody goes on with it
   * (ADR 0016).
   * @param runtime its name; left out = all of them
   */
  handBack(reason: string, runtime?: string): void {
    const desks = [...this.#desks.values()].filter(
      (desk) => (runtime ?? desk.state.record.name) === desk.state.record.name,
    );
    const jobs = desks.flatMap((desk) => [...desk.queue.splice(0), ...desk.running]);
    for (const job of jobs) job.fail(new MeshError("draining", reason));
  }

  /** Puts an accepted job in line; it starts at once when a slot is free. */
  enqueue(job: Job): void {
    const desk = this.#deskFor(job.facts.model);
    if (desk === undefined)
      return job.fail(new MeshError("no_node", `this node does not serve ${job.facts.model} now`));
    desk.queue.push(job);
    this.#fill(desk);
  }

  /** The slot of an ended job is free again. */
  release(job: Job): void {
    for (const desk of this.#desks.values()) {
      const waiting = desk.queue.indexOf(job);
      if (waiting >= 0) desk.queue.splice(waiting, 1);
      if (desk.running.delete(job) || waiting >= 0) return this.#fill(desk);
    }
  }

  /** Slots 0 still lets what was accepted before run, one by one. */
  #fill(desk: Desk): void {
    while (desk.running.size < Math.max(1, shareOf(desk.state.record.slots, this.#share))) {
      const job = desk.queue.shift();
      if (job === undefined) return;
      desk.running.add(job);
      this.#start(desk, job);
    }
  }

  #start(desk: Desk, job: Job): void {
    const work = this.#work();
    const { jobId, model, messages, parameters, declared, continues, input } = job.facts;
    const id = work.run(
      desk.state.record.name,
      {
        jobId,
        model,
        messages,
        parameters,
        declared,
        continues,
        commitmentSalt: job.commitmentSalt,
        ...(input === undefined ? {} : { input }),
      },
      { onChunk: (chunk) => job.onChunk(chunk), onFailed: (error) => job.fail(error) },
    );
    job.started(() => work.cancel(id));
  }

  /** Where several runtimes serve a model, the real and healthy one with the most free slots. */
  #deskFor(model: string): Desk | undefined {
    let best: Desk | undefined;
    for (const desk of this.#desks.values()) {
      if (!desk.state.record.healthy || !desk.state.models.some((served) => served.name === model)) continue;
      if (best === undefined || this.#free(desk) > this.#free(best)) best = desk;
    }
    return best;
  }

  /** A runtime that is gone or ill has no slots to offer; what it still runs counts. */
  #seatsOf(desk: Desk): Seats {
    const { healthy, slots } = desk.state.record;
    return { slots: healthy ? shareOf(slots, this.#share) : 0, running: desk.running.size, queued: desk.queue.length };
  }

  #free(desk: Desk): number {
    const { slots, running, queued } = this.#seatsOf(desk);
    return slots - running - queued - (desk.state.record.diagnostic ? 1e6 : 0);
  }
}
