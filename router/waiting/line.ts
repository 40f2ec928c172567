import { MeshError } from "../../bus-schemas/index.ts";
import type { Caps } from "../caps/caps.ts";
import type { RouterParts } from "../parts.ts";
import { pickNode } from "../policy/pick.ts";
import type { RouteRequest } from "../policy/types.ts";
import { DrainRate } from "./drain-rate.ts";
import { stillAsleep } from "../wake/still-asleep.ts";
import type { WakeHelp } from "../wake/wakes.ts";
import { WAIT_MS, WaitingRoom, type Place, type Waitable } from "./room.ts";

/** How often waiting jobs are looked at for their time, milliseconds. */
const TICK_MS = 10;
/** A caller hears once in this time that its job still waits: a client that hears nothing for two seconds submits again. */
const STILL_HERE_MS = 1000;
/**
 * A place that came free belongs first to the router whose job ended there; the others look after this time, milliseconds, and
 * as much again by chance. Otherwise each place would be sent a job by every router, and all but one be refused.
 */
const OTHERS_FIRST_MS = 8;
/** What waits here alone is the most urgent of all: it looks before the others do, milliseconds. */
const URGENT_MS = 2;
/** Something more urgent waits at another router, which looks first, milliseconds. */
const OUTRANKED_MS = 20;

/**
 * What became of a job whose turn it was. Nothing was recorded when there is no place for it now: `full`, the nodes that could
 * take it are; `asleep`, there is none but a machine that is being woken.
 */
export type Turn = "sent" | "ended" | "full" | "asleep";

/** A job on its way through the line. */
export interface Waiter {
  jobId: string;
  request: RouteRequest;
  /** What waiting for it costs, about. */
  bytes: number;
  /** Decides, records and sends; never throws. @param waitedMs how long it waited */
  go(waitedMs: number): Turn;
  /** Ends it undecided. */
  end(error: MeshError, waitedMs: number): void;
  /** Tells its caller that it waits. */
  stillHere(): void;
}

interface InRoom extends Waitable {
  waiter: Waiter;
  /** When its caller last heard of it. */
  toldMs: number;
  /** Nobody who was awake could take it, or its lane, when that was last asked. */
  asleep: boolean;
}

/**
 * The way of each job to its decision (ADR 0018): at once where there is a place for it, else through the waiting room, by
 * the priority of its queue. Places come free by the nodes' words and heartbeats; what waits too long is sent away with the
 * time after which to come back.
 */
export class Line {
  readonly #parts: RouterParts;
  readonly #caps: Caps;
  readonly #room: WaitingRoom<InRoom>;
  readonly #rates = new Map<string, DrainRate>();
  #timer: NodeJS.Timeout | undefined;
  /** A look for free places that is due: at once in this turn of the loop, or a moment later. */
  #due: "soon" | "later" | undefined;
  #draining = false;

  constructor(parts: RouterParts, caps: Caps, room = new WaitingRoom<InRoom>()) {
    this.#parts = parts;
    this.#caps = caps;
    this.#room = room;
    parts.fleet.onHeard(() => this.placeFree(false));
    caps.waitsHere(() => room.highest);
  }

  get size(): number {
    return this.#room.size;
  }

  /** Sends a job, ends it, or lets it wait. */
  enter(waiter: Waiter): void {
    // Its caller has asked again, and does not hear the former answer.
    this.take(waiter.jobId);
    if (this.#due === "soon") this.#drain();
    const { taskType: queue } = waiter.request;
    const lane = laneOf(waiter.request);
    const priority = this.#parts.policy().routing.task_queues[queue]?.priority ?? 0;
    const before = this.#room.front(lane);
    const mayGo = before === undefined && !this.#outranked(priority) && this.#caps.mayTake(queue);
    const turn = mayGo ? this.#turn(waiter, 0) : "full";
    if (isGone(turn)) return;
    const nowMs = performance.now();
    const job = {
      jobId: waiter.jobId,
      lane,
      queue,
      priority,
      bytes: waiter.bytes,
      deadlineMs: nowMs + waiter.request.deadlineMs - this.#parts.fleet.nowMs(),
      waiter,
      toldMs: nowMs,
      asleep: turn === "asleep" || before?.asleep === true,
    };
    const { entered, sentAway } = this.#room.enter(job, nowMs);
    for (const place of sentAway) this.#left(place, "sent_away");
    for (const place of sentAway)
      this.#sendAway(place.job, nowMs - place.enteredMs, "too many jobs wait in this router");
    if (!entered) return this.#sendAway(job, 0, "too many jobs wait in this router");
    this.#parts.metrics.waiting.inc({ queue });
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS);
    this.#caps.waitingChanged();
    if (this.#outranked(priority)) this.placeFree(false);
  }

  /** A job that waits here. */
  find(jobId: string): Waiter | undefined {
    return this.#room.find(jobId)?.waiter;
  }

  /** Takes a waiting job out, for its caller has given it up. */
  take(jobId: string): { waiter: Waiter; waitedMs: number } | undefined {
    const place = this.#room.take(jobId);
    if (place === undefined) return undefined;
    this.#left(place, "given_up");
    return { waiter: place.job.waiter, waitedMs: Math.round(performance.now() - place.enteredMs) };
  }

  /** A node may have a free place, or this router may take more. @param mine it came free by a job of this router */
  placeFree(mine: boolean): void {
    if (this.#room.size === 0) return;
    const patienceMs = this.#patienceMs(mine);
    if (patienceMs === 0) {
      if (this.#due === "soon") return;
      this.#due = "soon";
      queueMicrotask(() => this.#drain());
    } else if (this.#due === undefined) {
      this.#due = "later";
      setTimeout(() => this.#drain(), patienceMs * (1 + this.#parts.random()));
    }
  }

  /** How long others may look before this router does: priorities hold between routers, too. */
  #patienceMs(mine: boolean): number {
    if (this.#parts.fleet.fleet.liveRouters === 1) return 0;
    const elsewhere = this.#caps.waitingElsewhere;
    const here = this.#room.highest ?? -Infinity;
    if (elsewhere !== null && elsewhere > here) return OUTRANKED_MS;
    if (mine) return 0;
    return elsewhere === null || elsewhere < here ? URGENT_MS : OTHERS_FIRST_MS;
  }

  #outranked(priority: number): boolean {
    return (this.#caps.waitingElsewhere ?? -Infinity) > priority;
  }

  #drain(): void {
    if (this.#draining) return;
    this.#due = undefined;
    this.#draining = true;
    const blocked = { lanes: new Set<string>(), queues: new Set<string>() };
    try {
      for (;;) {
        const nowMs = performance.now();
        const place = this.#room.next(nowMs, blocked);
        if (place === undefined) return;
        const { job } = place;
        if (!this.#caps.mayTake(job.queue)) blocked.queues.add(job.queue);
        else if (!this.#fits(job.waiter.request) || !isGone(this.#turn(job.waiter, nowMs - place.enteredMs)))
          blocked.lanes.add(job.lane);
        else if (this.#room.take(job.jobId) === place) this.#left(place, "went_on");
      }
    } finally {
      this.#draining = false;
      this.#caps.waitingChanged();
    }
  }

  /** A look that costs less than a decision, which explains a refusal node by node. */
  #fits(request: RouteRequest): boolean {
    const { fleet, policy, random } = this.#parts;
    return pickNode(request, fleet.fleet, policy(), fleet.nowMs(), random) !== undefined;
  }

  #turn(waiter: Waiter, waitedMs: number): Turn {
    const turn = waiter.go(Math.round(waitedMs));
    if (turn === "sent") this.#rateOf(waiter.request.taskType).began(performance.now());
    return turn;
  }

  #tick(): void {
    const nowMs = performance.now();
    for (const place of this.#room.expired(nowMs)) {
      const { job, enteredMs } = place;
      const help = job.deadlineMs > nowMs ? this.#help(job, nowMs - enteredMs) : undefined;
      if (help?.inTime === true) {
        // Asked again then: until the machine is there, or its time is over.
        place.untilMs = Math.min(nowMs + WAIT_MS.calm, job.deadlineMs);
        continue;
      }
      this.#room.take(job.jobId);
      this.#left(place, "sent_away");
      const full = this.#caps.mayTake(job.queue)
        ? "every node that could take it is full"
        : `${this.#caps.used(job.queue)} jobs of the queue run already`;
      if (job.deadlineMs <= nowMs) {
        const error = new MeshError("deadline_exceeded", `the deadline passed while the job waited: ${full}`);
        job.waiter.end(error, Math.round(nowMs - enteredMs));
      } else if (help !== undefined) job.waiter.end(stillAsleep(help), Math.round(nowMs - enteredMs));
      else if (!job.asleep || !isGone(this.#turn(job.waiter, nowMs - enteredMs)))
        this.#sendAway(job, nowMs - enteredMs, full);
    }
    for (const { job } of this.#room.places) {
      if (nowMs - job.toldMs < STILL_HERE_MS) continue;
      job.toldMs = nowMs;
      job.waiter.stillHere();
    }
    this.#caps.waitingChanged();
    if (this.#room.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #help({ waiter }: InRoom, waitedMs: number): WakeHelp | undefined {
    return this.#parts.wakes?.help(waiter.request, Math.round(waitedMs));
  }

  #sendAway({ queue, waiter }: InRoom, waitedMs: number, why: string): void {
    const { metrics, random } = this.#parts;
    metrics.shed.inc({ queue });
    const retryAfterMs = this.#rateOf(queue).promise(performance.now(), random());
    const message = `the queue ${queue} is overloaded: ${why}; waited ${Math.round(waitedMs)} ms`;
    waiter.end(new MeshError("rate_limited", message, { retryAfterMs }), Math.round(waitedMs));
  }

  #left({ job, enteredMs }: Place<InRoom>, how: "went_on" | "sent_away" | "given_up"): void {
    const { metrics } = this.#parts;
    metrics.waiting.dec({ queue: job.queue });
    metrics.waited.observe({ queue: job.queue, how }, (performance.now() - enteredMs) / 1000);
  }

  #rateOf(queue: string): DrainRate {
    let rate = this.#rates.get(queue);
    if (rate === undefined) this.#rates.set(queue, (rate = new DrainRate()));
    return rate;
  }
}

function isGone(turn: Turn): boolean {
  return turn === "sent" || turn === "ended";
}

/**
 * What jobs must have in common to wait for the same places: a job whose lane has found none is not tried. Sizes count by
 * powers of two, so that a small job does not wait behind a large one for ever; nodes that were tried make a lane of its own.
 */
function laneOf(request: RouteRequest): string {
  const { taskType, dataClass, encrypted, model = "*", capabilities, contextTokens, vramGb = 0, exclude } = request;
  const sizes = `${Math.ceil(Math.log2(contextTokens + 1))} ${vramGb}`;
  return [taskType, dataClass, encrypted, sizes, capabilities.join(), [...exclude].join(), model].join(" ");
}
