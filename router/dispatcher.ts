import type { Msg } from "@nats-io/nats-core";
import { CONTENT_TYPES, GO_AHEAD, HEADERS, MeshError, lastToken, type Verdict } from "../bus-schemas/index.ts";
import { readCancel } from "../service/cancels.ts";
import { pause } from "../service/loop.ts";
import { header, makeHeaders } from "../service/messages.ts";
import type { RouterEnding } from "./answer.ts";
import { AuditGate } from "./audit-gate.ts";
import { Caps } from "./caps/caps.ts";
import { DispatchTable, type Dispatch } from "./dispatch-table.ts";
import { Endings } from "./endings.ts";
import { HandOver, OVERDUE_MS } from "./hand-over.ts";
import { Hedges } from "./hedges.ts";
import { KnownJobs } from "./known-jobs.ts";
import type { RouterParts } from "./parts.ts";
import { TakeBacks } from "./take-backs.ts";
import { Retries } from "./retries.ts";
import { Verdicts } from "./verdicts.ts";
import { Line } from "./waiting/line.ts";

/** A node says accepted or refused within this time, or the job goes to the next one, milliseconds (DESIGN promise 6). */
export const ACCEPT_LIMIT_MS = 250;

/** Sends decided jobs to their nodes, hears the nodes' verdicts, and picks again when a node refuses or is lost. */
export class Dispatcher {
  /** P0 and P1 pass it before each dispatch. */
  readonly gate = new AuditGate();
  readonly verdicts: Verdicts;
  readonly caps: Caps;
  readonly line: Line;
  readonly known: KnownJobs;
  readonly retries: Retries;
  readonly hedges: Hedges;
  /** Shared with the tickets: callers of sealed jobs go on in the same way. */
  readonly handOver: HandOver;
  readonly #parts: RouterParts;
  readonly #endings: Endings;
  readonly #table = new DispatchTable();
  readonly takeBacks: TakeBacks;
  #sweptAtMs = -Infinity;

  /** Jobs that it has sent to nodes, repeats included; each after a decision on record. */
  dispatched = 0;

  constructor(parts: RouterParts) {
    this.#parts = parts;
    this.verdicts = new Verdicts(parts);
    this.caps = new Caps(parts);
    this.caps.count((queue) => this.#table.countOf(queue));
    this.line = new Line(parts, this.caps);
    this.known = new KnownJobs(
      (jobId) => this.caps.runsElsewhere(jobId),
      () => parts.fleet.nowMs(),
    );
    this.retries = new Retries(parts, this);
    this.hedges = new Hedges(parts, this);
    this.takeBacks = new TakeBacks(parts.bus);
    this.#endings = new Endings(parts, (jobId) => this.known.ended(jobId));
    this.handOver = new HandOver(parts, this.#endings);
    parts.fleet.onTheWay = (nodeId) => this.#table.onTheWay(nodeId);
    parts.fleet.onLost((nodeId) => this.#onNodeLost(nodeId));
  }

  get inFlight(): { waiting: number; running: number } {
    return { waiting: this.#table.waitingCount, running: this.#table.runningCount };
  }

  start(): void {
    const { bus, id } = this.#parts;
    this.verdicts.hear(id, {
      find: (token) => this.#table.find(token),
      answered: (token) => this.#table.answered(token),
      onLate: (late) => this.#table.dropAbandoned((_, token) => token === late),
      onVerdict: (verdict, dispatch, token, reply) => this.#onVerdict(verdict, dispatch, token, reply),
      onNobody: (token) => this.#onNobody(token),
      mayTell: (dispatch) => this.hedges.mayTell(dispatch),
      onGoAhead: (dispatch) => void (dispatch.goAheadAtMs = performance.now()),
    });
    this.verdicts.watch(
      (mine) => this.line.placeFree(mine),
      (verdict, router, token) => {
        this.caps.onOther(verdict, router, token);
        if (verdict.type === "accepted") this.handOver.wentOn(verdict.job_id);
        if (verdict.type === "ended" && verdict.status === "finished") this.known.finished(verdict.job_id);
      },
    );
    this.verdicts.start();
    this.takeBacks.start();
    bus.listen(bus.subjects.cancels, (msg) => this.#onCancel(msg));
  }

  /** Waits until no job waits for a node, its record or a node's word; one that does has it within the limits per try. */
  async drain(): Promise<void> {
    while (this.#table.waitingCount + this.gate.size + this.line.size > 0) {
      await pause(ACCEPT_LIMIT_MS / 10);
      this.sweep();
    }
  }

  /** Re-picks jobs whose node kept silent; call it at least three times per `ACCEPT_LIMIT_MS`. */
  sweep(): void {
    const nowMs = performance.now();
    // A late sweep blames this process first: the verdicts may lie unread in its own socket until after this turn.
    const late = nowMs - this.#sweptAtMs > ACCEPT_LIMIT_MS / 2;
    this.#sweptAtMs = nowMs;
    for (const dispatch of late ? [] : this.#table.takeSilent(nowMs - ACCEPT_LIMIT_MS)) {
      this.#parts.fleet.onSilent(dispatch.nodeId);
      // If it takes the job yet, two nodes would have it.
      this.handOver.supersede(dispatch);
      if (this.hedges.left(dispatch)) continue;
      const why = `${dispatch.nodeId} did not answer within ${ACCEPT_LIMIT_MS} ms`;
      this.retries.redispatch(dispatch, new MeshError("node_lost", why));
    }
    const overdueMs = this.#parts.fleet.nowMs() - OVERDUE_MS;
    this.#table.dropAbandoned(({ request }) => request.deadlineMs < overdueMs);
    this.handOver.sweep();
    this.handOver.endOverdue(this.#table, (dispatch) => this.hedges.left(dispatch));
    this.hedges.sweep();
  }

  /**
   * Forwards the caller's own bytes; the answer goes to the caller's inbox, the verdict comes back here.
   * @throws MeshError `payload_too_large` when the bus would not take the job with our headers, or `bus_unavailable`; the
   * job is then not dispatched.
   */
  send(dispatch: Dispatch): void {
    const { bus, fleet, id, metrics } = this.#parts;
    const { message, request } = dispatch;
    const token = this.#table.add(dispatch);
    const hedged = this.hedges.sent(dispatch, token);
    const headers = makeHeaders({
      [HEADERS.contentType]: header(message, HEADERS.contentType) ?? CONTENT_TYPES.json,
      [HEADERS.job]: dispatch.jobId,
      [HEADERS.dataClass]: request.dataClass,
      [HEADERS.deadline]: String(request.deadlineMs),
      [HEADERS.reply]: message.reply ?? "",
      [HEADERS.model]: dispatch.model,
      [HEADERS.attempt]: String(dispatch.attempt),
      [HEADERS.queue]: request.taskType,
      [HEADERS.decision]: dispatch.decisionId,
      [HEADERS.handBack]: this.#handBackTo(dispatch),
      [HEADERS.goAhead]: hedged ? GO_AHEAD.whenItSpeaks : GO_AHEAD.atOnce,
      [HEADERS.traceparent]: dispatch.traceparent,
    });
    try {
      bus.nc.publish(bus.subjects.run(request.dataClass, dispatch.nodeId), message.data, {
        headers,
        reply: bus.subjects.verdict(id, dispatch.nodeId, token),
      });
    } catch (cause) {
      this.#table.remove(token);
      this.hedges.left(dispatch);
      throw bus.nc.isClosed() || bus.nc.isDraining()
        ? new MeshError("bus_unavailable", "the router is stopping", { cause })
        : new MeshError("payload_too_large", "the job with its headers is larger than the bus takes", { cause });
    }
    fleet.onDispatch(dispatch.nodeId);
    metrics.dispatches.inc();
    this.dispatched++;
    this.retries.sent(dispatch.attempt);
  }

  /** Who goes on when the node fails: a whole answer is ours to ask for again, a stream is its caller's. */
  #handBackTo(dispatch: Dispatch): "router" | "caller" | undefined {
    if (dispatch.stream) return this.handOver.callerGoesOn(dispatch) ? "caller" : undefined;
    return this.handOver.triesLeft(dispatch) > 0 ? "router" : undefined;
  }

  #onNobody(token: string): void {
    const dispatch = this.#table.waiting(token);
    if (dispatch === undefined) return;
    this.#table.remove(token);
    this.#parts.fleet.onGone(dispatch.nodeId);
    if (this.hedges.left(dispatch)) return;
    this.retries.redispatch(dispatch, new MeshError("node_lost", `${dispatch.nodeId} is not on the bus`));
  }

  #onVerdict(verdict: Verdict, dispatch: Dispatch, token: string, reply: string): void {
    const { bus, fleet, metrics } = this.#parts;
    if (verdict.type === "accepted") {
      if (this.#table.markRunning(token) === undefined) return;
      this.handOver.onAccepted(dispatch);
      if (dispatch.cancelled) bus.nc.publish(bus.subjects.cancel(dispatch.jobId), "");
      metrics.accept.observe((performance.now() - dispatch.sentAtMs) / 1000);
      return;
    }
    // A job that a node has accepted is that node's to end, or to hand back as ended.
    if (verdict.type === "ended") {
      if (!verdict.handed_back || dispatch.stream) return this.#onEnded(verdict, dispatch, token);
      const stands = () => this.#table.find(token) !== undefined;
      return this.takeBacks.ask(token, reply, stands, (mine) => {
        if (!stands()) return;
        // Its node has told the caller, having waited in vain: nobody else of its group may.
        if (!mine) this.hedges.mayTell(dispatch);
        this.#onEnded({ ...verdict, handed_back: mine }, dispatch, token);
      });
    }
    if (this.#table.waiting(token) === undefined) return;
    this.#table.remove(token);
    fleet.onDone(dispatch.nodeId);
    fleet.onRefused(dispatch.nodeId);
    if (!this.hedges.left(dispatch)) this.retries.redispatch(dispatch, MeshError.fromWire(verdict.error));
  }

  #onEnded(verdict: Extract<Verdict, { type: "ended" }>, dispatch: Dispatch, token: string): void {
    this.#table.remove(token);
    this.#parts.fleet.onDone(dispatch.nodeId);
    const goesOn = this.hedges.left(dispatch);
    const error = this.handOver.onEnded(dispatch, verdict);
    if (goesOn) return;
    if (verdict.status === "finished") this.known.finished(dispatch.jobId);
    else if (error === undefined) this.known.ended(dispatch.jobId);
    // Of a stream its caller has heard it and decides; a whole answer is asked for again here.
    else if (!dispatch.stream) {
      // By this the node knows that it was taken back.
      this.handOver.supersede(dispatch);
      this.retries.redispatch(dispatch, error);
    }
  }

  /** Whatever the node had is lost with it; where nobody has heard anything of an answer, nobody needs to notice. */
  #onNodeLost(nodeId: string): void {
    this.#table.dropAbandoned((dispatch) => dispatch.nodeId === nodeId);
    const { waiting, running } = this.#table.takeOf(nodeId);
    for (const dispatch of [...waiting, ...running]) {
      this.#parts.fleet.onDone(nodeId);
      this.handOver.supersede(dispatch);
    }
    const alone = (dispatch: Dispatch) => !this.hedges.left(dispatch);
    const unanswered = new MeshError("node_lost", `${nodeId} was lost before it answered`);
    for (const dispatch of waiting.filter(alone)) this.retries.redispatch(dispatch, unanswered);
    for (const dispatch of running.filter(alone)) {
      const lost = new MeshError("node_lost", `${nodeId} was lost while it ran the job`);
      if (dispatch.stream) this.handOver.toCallerOrEnd(dispatch, lost);
      else this.retries.redispatch(dispatch, lost);
    }
    // What ended is off the queues' caps.
    this.line.placeFree(true);
  }

  /** Another node tells the answer of this job. */
  drop(dispatch: Dispatch, token: string): void {
    this.#table.remove(token);
    this.#parts.fleet.onDone(dispatch.nodeId);
    this.handOver.supersede(dispatch);
  }

  #onCancel(msg: Msg): void {
    const jobId = lastToken(msg.subject);
    const cancel = readCancel(msg);
    if (cancel.by_router) return;
    this.handOver.onCancel(jobId, cancel);
    if (cancel.superseded) {
      // The newer try has the same job id: cancelling by it later, or ending this one, would reach that one too.
      this.known.superseded(jobId);
      this.line.take(jobId);
      this.gate.supersede(jobId);
      return this.handOver.onSuperseded(this.#table, jobId, cancel.node_id);
    }
    const inLine = this.line.take(jobId);
    inLine?.waiter.end(new MeshError("cancelled", "cancelled by the caller"), inLine.waitedMs);
    this.gate.cancel(jobId);
    const dispatch = this.#table.findJob(jobId);
    if (dispatch !== undefined) dispatch.cancelled = true;
  }

  /** The one ending of a job that ends here: told, and recorded. */
  end(ending: RouterEnding): void {
    this.#endings.end(ending);
  }

  /** The same of a job whose node has told the caller. */
  record(ending: RouterEnding): void {
    this.#endings.record(ending);
  }
}
