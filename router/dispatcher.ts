import type { Msg } from "@nats-io/nats-core";
import { HEADERS, MeshError, Verdict, lastToken } from "../bus-schemas/index.ts";
import { pause } from "../service/loop.ts";
import { header, headersFor, readBody } from "../service/messages.ts";
import { learnFromPeer } from "../service/structures-exchange.ts";
import { answerEnding, statusOf, type RouterEnding } from "./answer.ts";
import { DispatchTable, type Dispatch } from "./dispatch-table.ts";
import type { RouterParts } from "./parts.ts";
import { decide } from "./policy/decide.ts";
import type { RouteRequest } from "./policy/types.ts";

/** A node says accepted or refused within this time, or the job goes to the next one, milliseconds (DESIGN promise 6). */
export const ACCEPT_LIMIT_MS = 250;
/** A running job whose node never reported the ending is forgotten this long after its deadline, milliseconds. */
const FORGET_AFTER_MS = 10_000;

/** Sends decided jobs to their nodes, hears the nodes' verdicts, and picks again when a node refuses or is lost. */
export class Dispatcher {
  readonly #parts: RouterParts;
  readonly #table = new DispatchTable();

  constructor(parts: RouterParts) {
    this.#parts = parts;
    parts.fleet.onLost((nodeId) => this.#onNodeLost(nodeId));
  }

  get inFlight(): { waiting: number; running: number } {
    return { waiting: this.#table.waitingCount, running: this.#table.runningCount };
  }

  start(): void {
    const { bus, id } = this.#parts;
    bus.listen(bus.subjects.verdicts(id), (msg) => this.#onVerdict(msg));
    bus.listen(bus.subjects.cancels, (msg) => this.#onCancel(msg));
  }

  /** Waits until no job waits for a node's word; one that does has it within the accept limit per try. */
  async drain(): Promise<void> {
    while (this.#table.waitingCount > 0) {
      await pause(ACCEPT_LIMIT_MS / 10);
      this.sweep();
    }
  }

  /** Re-picks jobs whose node kept silent; call it a few times per `ACCEPT_LIMIT_MS`. */
  sweep(): void {
    for (const dispatch of this.#table.takeSilent(performance.now() - ACCEPT_LIMIT_MS)) {
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

  /** Forwards the caller's own bytes; the answer goes to the caller's inbox, the verdict comes back here. */
  send(dispatch: Dispatch): void {
    const { bus, fleet, id, metrics } = this.#parts;
    const { message, request } = dispatch;
    const token = this.#table.add(dispatch);
    const headers = headersFor("json");
    const contentType = header(message, HEADERS.contentType);
    if (contentType !== undefined) headers.set(HEADERS.contentType, contentType);
    headers.set(HEADERS.job, dispatch.jobId);
    headers.set(HEADERS.dataClass, request.dataClass);
    headers.set(HEADERS.deadline, String(request.deadlineMs));
    headers.set(HEADERS.reply, message.reply ?? "");
    headers.set(HEADERS.model, dispatch.model);
    headers.set(HEADERS.attempt, String(dispatch.attempt));
    headers.set(HEADERS.decision, dispatch.decisionId);
    if (dispatch.traceparent !== undefined) headers.set(HEADERS.traceparent, dispatch.traceparent);
    fleet.onDispatch(dispatch.nodeId);
    metrics.dispatches.inc();
    bus.nc.publish(bus.subjects.run(request.dataClass, dispatch.nodeId), message.data, {
      headers,
      reply: bus.subjects.verdict(id, token),
    });
  }

  #onVerdict(msg: Msg): void {
    const token = lastToken(msg.subject);
    if (msg.headers?.code === 503 && msg.data.length === 0) {
      const dispatch = this.#table.remove(token);
      if (dispatch === undefined) return;
      this.#parts.fleet.onGone(dispatch.nodeId);
      return this.#redispatch(dispatch, new MeshError("node_lost", `${dispatch.nodeId} is not on the bus`));
    }
    let verdict: Verdict;
    try {
      verdict = readBody(msg, Verdict);
    } catch (error) {
      const rejection = MeshError.from(error);
      if (rejection.code === "codec_unknown") learnFromPeer(this.#parts.bus, header(msg, HEADERS.contentType));
      return this.#parts.rejections.add("verdict", rejection);
    }
    this.#parts.fleet.onLoad(verdict.node_id, verdict.load);
    if (verdict.type === "accepted") {
      const dispatch = this.#table.markRunning(token);
      if (dispatch?.cancelled === true) this.#parts.bus.nc.publish(this.#parts.bus.subjects.cancel(dispatch.jobId), "");
      if (dispatch !== undefined) this.#parts.metrics.accept.observe((performance.now() - dispatch.sentAtMs) / 1000);
      return;
    }
    const dispatch = this.#table.remove(token);
    if (dispatch === undefined) return;
    this.#parts.fleet.onDone(dispatch.nodeId);
    if (verdict.type === "refused") {
      this.#parts.fleet.onRefused(dispatch.nodeId);
      this.#redispatch(dispatch, MeshError.fromWire(verdict.error));
    } else if (verdict.timing !== null) this.#parts.fleet.observe(dispatch, verdict.timing, verdict.status);
  }

  /** The next pick of the decision, at most `retry_attempts` more; then the job is refused with the last reason. */
  #redispatch(dispatch: Dispatch, error: MeshError): void {
    const { jobId, request, attempt } = dispatch;
    if (dispatch.cancelled) return this.#endDispatch(dispatch, new MeshError("cancelled", "cancelled by the caller"));
    const next = attempt > this.#parts.routing().defaults.retry_attempts ? undefined : this.#nextPick(dispatch);
    this.#parts.metrics.redispatches.inc({ code: error.code });
    this.#parts.events.record(
      "job_redispatched",
      {
        job_id: jobId,
        attempt,
        from_node_id: dispatch.nodeId,
        to_node_id: next?.nodeId ?? null,
        error: error.toWire(),
      },
      { dataClass: request.dataClass, traceparent: dispatch.traceparent },
    );
    if (next === undefined) return this.#endDispatch(dispatch, error);
    this.send({ ...dispatch, ...next, attempt: attempt + 1, sentAtMs: performance.now() });
  }

  /** Decides again without the nodes already tried: the class and every filter are checked anew at each hop. */
  #nextPick(dispatch: Dispatch): { request: RouteRequest; nodeId: string; model: string } | undefined {
    const request = { ...dispatch.request, exclude: new Set([...dispatch.request.exclude, dispatch.nodeId]) };
    const decision = decide(request, this.#parts.fleet.fleet, this.#parts.policy(), Date.now(), this.#parts.random);
    if (decision.node_id === null || decision.model === null) return undefined;
    return { request, nodeId: decision.node_id, model: decision.model };
  }

  #onNodeLost(nodeId: string): void {
    for (const dispatch of this.#table.takeRunning((running) => running.nodeId === nodeId)) {
      const error = new MeshError("node_lost", `${nodeId} was lost while it ran the job`);
      this.#endDispatch(dispatch, error, nodeId);
    }
  }

  #onCancel(msg: Msg): void {
    const dispatch = this.#table.findJob(lastToken(msg.subject));
    if (dispatch !== undefined) dispatch.cancelled = true;
  }

  /** The one ending of a job that ends here: told, and recorded. */
  end(ending: RouterEnding): void {
    const { message, jobId, error, dataClass, decisionId, nodeId } = ending;
    const status = statusOf(ending);
    this.#parts.metrics.endings.inc({ status, code: error.code });
    answerEnding(ending);
    const nothing = { layer: null, model: null, finish_reason: null, usage: null, timing: null };
    try {
      this.#parts.events.record(
        "job_ended",
        {
          job_id: jobId,
          status,
          node_id: nodeId ?? null,
          decision_id: decisionId ?? null,
          error: error.toWire(),
          ...nothing,
        },
        { dataClass, traceparent: header(message, HEADERS.traceparent) },
      );
    } catch (cause) {
      this.#parts.log.warn({ err: cause, job: jobId }, "the ending of a refused job could not be recorded");
    }
  }

  #endDispatch(dispatch: Dispatch, error: MeshError, nodeId?: string): void {
    const { message, jobId, request, decisionId, attempt } = dispatch;
    const ending = { message, jobId, error, attempts: attempt, dataClass: request.dataClass, decisionId };
    this.end(nodeId === undefined ? ending : { ...ending, nodeId });
  }
}
