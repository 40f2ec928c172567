import type { Msg } from "@nats-io/nats-core";
import { CONTENT_TYPES, HEADERS, MeshError, lastToken, type Verdict } from "../bus-schemas/index.ts";
import { pause } from "../service/loop.ts";
import { header, makeHeaders } from "../service/messages.ts";
import { VERSION } from "../service/version.ts";
import { answerEnding, recordEnding, statusOf, type RouterEnding } from "./answer.ts";
import { AuditGate } from "./audit-gate.ts";
import { Caps } from "./caps/caps.ts";
import { DispatchTable, fullNodes, type Dispatch } from "./dispatch-table.ts";
import { KnownJobs } from "./known-jobs.ts";
import type { RouterParts } from "./parts.ts";
import { decideRecorded, type RecordedDecision } from "./policy/record-inputs.ts";
import { RetryBudget } from "./retry-budget.ts";
import { isSuperseded } from "./superseded.ts";
import { Verdicts } from "./verdicts.ts";
import { Line } from "./waiting/line.ts";
import { plainJob } from "./waiting/plain-job.ts";

/** A node says accepted or refused within this time, or the job goes to the next one, milliseconds (DESIGN promise 6). */
export const ACCEPT_LIMIT_MS = 250;
/** A running job whose node never reported the ending is forgotten this long after its deadline, milliseconds. */
const FORGET_AFTER_MS = 10_000;

/** Sends decided jobs to their nodes, hears the nodes' verdicts, and picks again when a node refuses or is lost. */
export class Dispatcher {
  /** P0 and P1 pass it before each dispatch. */
  readonly gate = new AuditGate();
  readonly verdicts: Verdicts;
  readonly caps: Caps;
  readonly line: Line;
  readonly known: KnownJobs;
  readonly budget = new RetryBudget();
  readonly #parts: RouterParts;
  readonly #table = new DispatchTable();
  #sweptAtMs = -Infinity;

  constructor(parts: RouterParts) {
    this.#parts = parts;
    this.verdicts = new Verdicts(parts);
    this.caps = new Caps(parts);
    this.caps.count((queue) => this.#table.countOf(queue));
    this.line = new Line(parts, this.caps);
    this.known = new KnownJobs((jobId) => this.caps.runsElsewhere(jobId));
    parts.fleet.onLost((nodeId) => this.#onNodeLost(nodeId));
  }

  get inFlight(): { waiting: number; running: number } {
    return { waiting: this.#table.waitingCount, running: this.#table.runningCount };
  }

  start(): void {
    const { bus, id } = this.#parts;
    this.verdicts.hear(id, {
      find: (token) => this.#table.find(token),
      onVerdict: (verdict, dispatch, token) => this.#onVerdict(verdict, dispatch, token),
      onNobody: (token) => this.#onNobody(token),
    });
    this.verdicts.watch(
      (mine) => this.line.placeFree(mine),
      (verdict, router, token) => {
        this.caps.onOther(verdict, router, token);
        if (verdict.type === "ended" && verdict.status === "finished") this.known.finished(verdict.job_id);
      },
    );
    this.verdicts.start();
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
    this.caps.sweep();
    this.known.sweep();
    const nowMs = performance.now();
    // A late sweep blames this process first: the verdicts may lie unread in its own socket until after this turn.
    const late = nowMs - this.#sweptAtMs > ACCEPT_LIMIT_MS / 2;
    this.#sweptAtMs = nowMs;
    for (const dispatch of late ? [] : this.#table.takeSilent(nowMs - ACCEPT_LIMIT_MS)) {
      this.#parts.fleet.onSilent(dispatch.nodeId);
      this.#redispatch(
        dispatch,
        new MeshError("node_lost", `${dispatch.nodeId} did not answer within ${ACCEPT_LIMIT_MS} ms`),
      );
    }
    const beforeMs = Date.now() - FORGET_AFTER_MS;
    for (const dispatch of this.#table.takeRunning((running) => running.request.deadlineMs < beforeMs))
      this.#parts.fleet.onDone(dispatch.nodeId);
  }

  /**
   * Forwards the caller's own bytes; the answer goes to the caller's inbox, the verdict comes back here.
   * @throws MeshError `payload_too_large` when the bus would not take the job with our headers, or `bus_unavailable`; the
   * job is then not dispatched.
   */
  send(dispatch: Dispatch): void {
    const { bus, fleet, id, metrics } = this.#parts;
    const { message, request } = dispatch;
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
      [HEADERS.traceparent]: dispatch.traceparent,
    });
    const token = this.#table.add(dispatch);
    try {
      bus.nc.publish(bus.subjects.run(request.dataClass, dispatch.nodeId), message.data, {
        headers,
        reply: bus.subjects.verdict(id, dispatch.nodeId, token),
      });
    } catch (cause) {
      this.#table.remove(token);
      throw bus.nc.isClosed() || bus.nc.isDraining()
        ? new MeshError("bus_unavailable", "the router is stopping", { cause })
        : new MeshError("payload_too_large", "the job with its headers is larger than the bus takes", { cause });
    }
    fleet.onDispatch(dispatch.nodeId);
    metrics.dispatches.inc();
    if (dispatch.attempt === 1) this.budget.fresh();
  }

  #onNobody(token: string): void {
    const dispatch = this.#table.waiting(token);
    if (dispatch === undefined) return;
    this.#table.remove(token);
    this.#parts.fleet.onGone(dispatch.nodeId);
    this.#redispatch(dispatch, new MeshError("node_lost", `${dispatch.nodeId} is not on the bus`));
  }

  #onVerdict(verdict: Verdict, dispatch: Dispatch, token: string): void {
    const { bus, fleet, metrics } = this.#parts;
    if (verdict.type === "accepted") {
      if (this.#table.markRunning(token) === undefined) return;
      if (dispatch.cancelled) bus.nc.publish(bus.subjects.cancel(dispatch.jobId), "");
      metrics.accept.observe((performance.now() - dispatch.sentAtMs) / 1000);
      return;
    }
    // A job that a node has accepted is that node's to end; it cannot be handed back.
    if (verdict.type === "refused" && this.#table.waiting(token) === undefined) return;
    this.#table.remove(token);
    fleet.onDone(dispatch.nodeId);
    if (verdict.type === "refused") {
      fleet.onRefused(dispatch.nodeId);
      this.#redispatch(dispatch, MeshError.fromWire(verdict.error));
      return;
    }
    if (verdict.status === "finished") this.known.finished(dispatch.jobId);
    else this.known.ended(dispatch.jobId);
    if (verdict.timing !== null) fleet.observe(dispatch, verdict.timing, verdict.status);
  }

  /**
   * The next pick of the decision, at most `retry_attempts` more and within the router's retry budget; then the job is refused
   * with the last reason. Where every other node is full it waits for one.
   */
  #redispatch(dispatch: Dispatch, error: MeshError): void {
    const { jobId, request, attempt } = dispatch;
    if (dispatch.cancelled) return this.#endDispatch(dispatch, new MeshError("cancelled", "cancelled by the caller"));
    try {
      const { retry_attempts: retries } = this.#parts.policy().routing.defaults;
      const next = attempt > retries || !this.#mayRetry() ? undefined : this.#nextPick(dispatch);
      this.#parts.metrics.redispatches.inc({ code: error.code });
      const { durable } = this.#parts.events.record(
        "job_redispatched",
        {
          job_id: jobId,
          attempt,
          from_node_id: dispatch.nodeId,
          to_node_id: next?.to?.nodeId ?? null,
          error: error.toWire(),
          decision: next?.decision ?? null,
          inputs: next?.inputs ?? null,
        },
        { dataClass: request.dataClass, traceparent: dispatch.traceparent },
      );
      const to = next?.to;
      if (next === undefined) return this.#endDispatch(dispatch, error);
      if (to === undefined) {
        const full = next.decision.error?.code === "all_busy" || fullNodes(dispatch, error).length > 0;
        return full ? this.#wait(dispatch, error) : this.#endDispatch(dispatch, error);
      }
      const { request: without, decision } = next;
      const again = {
        ...dispatch,
        ...to,
        request: without,
        decision,
        attempt: attempt + 1,
        sentAtMs: performance.now(),
        full: fullNodes(dispatch, error),
      };
      if (request.dataClass === "P2") this.send(again);
      else void this.#sendRecorded(again, durable);
    } catch (cause) {
      this.#endDispatch(dispatch, MeshError.from(cause));
    }
  }

  #mayRetry(): boolean {
    const may = this.budget.take();
    if (!may) this.#parts.metrics.overBudget.inc();
    return may;
  }

  /** Nodes that were only full may be asked again, once something has changed. */
  #wait(dispatch: Dispatch, error: MeshError): void {
    const { message, attempt, stream = false } = dispatch;
    const full = new Set(fullNodes(dispatch, error));
    const tried = [...dispatch.request.exclude, dispatch.nodeId].filter((nodeId) => !full.has(nodeId));
    const request = { ...dispatch.request, exclude: new Set(tried) };
    this.line.enter(plainJob(this.#parts, this, { message, request, attempt: attempt + 1, stream }));
  }

  /** The second try of a P0 or P1 job is as recorded as the first (DESIGN promise 3). */
  async #sendRecorded(dispatch: Dispatch, durable: Promise<void>): Promise<void> {
    const release = this.caps.hold(dispatch.request.taskType);
    try {
      await this.gate.pass(dispatch.jobId, durable);
      this.send({ ...dispatch, sentAtMs: performance.now() });
    } catch (cause) {
      this.#endDispatch(dispatch, MeshError.from(cause));
    } finally {
      release();
    }
  }

  /** Decides again without the nodes already tried: the class and every filter are checked anew at each hop. */
  #nextPick(dispatch: Dispatch): NextPick {
    const { fleet, policy, random } = this.#parts;
    const request = { ...dispatch.request, exclude: new Set([...dispatch.request.exclude, dispatch.nodeId]) };
    const made = decideRecorded(request, fleet.fleet, policy(), Date.now(), random, VERSION);
    const { node_id: nodeId, model } = made.decision;
    return { ...made, request, to: nodeId === null || model === null ? undefined : { nodeId, model } };
  }

  #onNodeLost(nodeId: string): void {
    for (const dispatch of this.#table.takeRunning((running) => running.nodeId === nodeId)) {
      this.#parts.fleet.onDone(nodeId);
      const error = new MeshError("node_lost", `${nodeId} was lost while it ran the job`);
      this.#endDispatch(dispatch, error, nodeId);
    }
  }

  #onCancel(msg: Msg): void {
    const jobId = lastToken(msg.subject);
    if (isSuperseded(msg)) {
      // The newer try has the same job id: cancelling by it later, or ending this one, would reach that one too.
      this.known.superseded(jobId);
      this.line.take(jobId);
      const superseded = this.#table.takeWaitingJob(jobId);
      if (superseded !== undefined) this.#parts.fleet.onDone(superseded.nodeId);
      return;
    }
    const inLine = this.line.take(jobId);
    inLine?.waiter.end(new MeshError("cancelled", "cancelled by the caller"), inLine.waitedMs);
    this.gate.cancel(jobId);
    const dispatch = this.#table.findJob(jobId);
    if (dispatch !== undefined) dispatch.cancelled = true;
  }

  /** The one ending of a job that ends here: told, and recorded. */
  end(ending: RouterEnding): void {
    const { jobId, error } = ending;
    this.known.ended(jobId);
    this.#parts.metrics.endings.inc({ status: statusOf(ending), code: error.code });
    answerEnding(ending);
    recordEnding(this.#parts, ending);
  }

  #endDispatch(dispatch: Dispatch, error: MeshError, nodeId?: string): void {
    const { message, jobId, request, decisionId, attempt } = dispatch;
    const ending = { message, jobId, error, attempts: attempt, dataClass: request.dataClass, decisionId };
    this.end(nodeId === undefined ? ending : { ...ending, nodeId });
  }
}

interface NextPick extends RecordedDecision {
  request: Dispatch["request"];
  /** Undefined = nowhere. */
  to: Pick<Dispatch, "nodeId" | "model"> | undefined;
}
