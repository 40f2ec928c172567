import { MeshError, type DurableRecord, type JobResult } from "../../bus-schemas/index.ts";
import { ClaimLost, ClaimStates } from "./claim-states.ts";
import type { Claim } from "./claim.ts";
import { endingOf, type Endings } from "./endings.ts";
import type { DurableParts } from "./parts.ts";
import { routeOf } from "./route-of.ts";
import type { RunOutcome, Runs } from "./runs.ts";
import type { Next, WaitingLine } from "./waiting-line.ts";

/** Runs that may be lost with their node or router: more, and it is the job that kills them. */
export const MAX_LOSSES = 8;
/** What the clocks of a router and a node may differ by before it matters whether a deadline has passed, milliseconds. */
const CLOCKS_MS = 250;
/**
 * What is done for one durable job in hand, until it has ended or is somebody else's. Invariants:
 * (1) nothing happens to the job but by a compare-and-set on its state: who loses one lets go of the job;
 * (2) a run is dispatched under the number of the message that says `running`, which is its fencing token; the result is
 *     committed as the next message after just that one, so a router that slept while another took over commits nothing;
 * (3) the job's message is acknowledged last, after its ending is stored and recorded: whoever dies before leaves it to others.
 */
export class Runner {
  readonly #parts: DurableParts;
  readonly #line: WaitingLine;
  readonly #runs: Runs;
  readonly #endings: Endings;
  readonly #states: ClaimStates;
  /** Where others ask whether this router still has a job. */
  readonly #holder: string;

  constructor(parts: DurableParts, line: WaitingLine, runs: Runs, endings: Endings, holder: string) {
    this.#parts = parts;
    this.#line = line;
    this.#runs = runs;
    this.#endings = endings;
    this.#states = new ClaimStates(parts);
    this.#holder = holder;
  }

  /** Resolves when this router has nothing more to do with it. */
  async run(claim: Claim, signal: AbortSignal): Promise<void> {
    try {
      await this.#live(claim, signal);
    } catch (error) {
      if (!(error instanceof ClaimLost)) {
        this.#parts.log.error(
          { err: error, job: claim.jobId },
          "a durable job was let go; the broker gives it out again",
        );
        return;
      }
      await this.#lookOnce(claim);
    }
  }

  async #live(claim: Claim, signal: AbortSignal): Promise<void> {
    if (claim.poison !== undefined) return this.#bury(claim, claim.poison, signal);
    let outcome = claim.held.record.state === "running" ? await this.#takeOver(claim, signal) : undefined;
    for (;;) {
      if (outcome !== undefined && (await this.#settle(claim, outcome, signal))) return;
      outcome = undefined;
      let next = this.#line.now(claim);
      if (next === undefined) {
        if (claim.held.record.state === "running")
          await this.#states.write(claim, { state: "queued", holder: null, fence: 0 }, signal);
        next = await this.#line.wait(claim);
      }
      if (next.to === "node") outcome = await this.#dispatch(claim, next, signal);
      else if (next.to === "tail") return this.#toTail(claim, signal);
      else if (next.to === "dead") return this.#bury(claim, next.error, signal);
      else if (next.to === "expired") return this.#expire(claim, signal);
      else throw new ClaimLost();
    }
  }

  /** Another router had it and fell silent. Its node, if it is there, goes on with the run under our fencing token. */
  async #takeOver(claim: Claim, signal: AbortSignal): Promise<RunOutcome> {
    const { fleet, policy } = this.#parts;
    const { node_id: nodeId, model, decision_id: decisionId, losses } = claim.held.record;
    const left = nodeId === null || fleet.fleet.view(nodeId)?.gone !== false;
    const lost: RunOutcome = { type: "lost", error: new MeshError("node_lost", "its router and its node were lost") };
    // Counted when it is settled, or by the run that goes on.
    if (left || model === null || decisionId === null || losses >= MAX_LOSSES) return lost;
    let request;
    try {
      request = routeOf(claim, policy().routing, Date.now());
    } catch (cause) {
      return { type: "refused", error: MeshError.from(cause) };
    }
    await this.#states.write(claim, { losses: losses + 1, holder: this.#holder }, signal);
    fleet.onDispatch(nodeId);
    return this.#runs.run({
      claim,
      nodeId,
      model,
      request,
      decision: { score: null },
      decisionId,
      fence: claim.held.seq,
    });
  }

  /** Decided: recorded, durably for P0 and P1, then run (DESIGN promise 3). */
  async #dispatch(claim: Claim, next: Extract<Next, { to: "node" }>, signal: AbortSignal): Promise<RunOutcome> {
    const { events, fleet, gate, metrics } = this.#parts;
    const { request, made, model, nodeId } = next;
    const { jobId, dataClass, caller } = request;
    const attempts = claim.held.record.attempts + 1;
    let sent = false;
    try {
      const sizes = { request_bytes: claim.msg.data.length, prompt_tokens_estimate: request.promptTokens };
      const common = { job_id: jobId, attempt: attempts, deadline_unix_ms: Math.floor(request.deadlineMs) };
      const who = caller === undefined ? {} : { caller };
      const data = { ...common, ...who, decision: made.decision, sizes, inputs: made.inputs };
      const recorded = events.record("job_decided", data, { dataClass });
      metrics.decisions.inc({ outcome: made.decision.outcome, class: dataClass });
      const running = {
        state: "running" as const,
        attempts,
        node_id: nodeId,
        model,
        decision_id: recorded.id,
        holder: this.#holder,
      };
      const [, passed] = await Promise.all([
        this.#states.write(claim, running, signal),
        dataClass === "P2"
          ? undefined
          : // A durable job is asked for once: nothing supersedes it here.
            gate.pass(jobId, recorded.durable).then(
              () => undefined,
              (cause: unknown) => MeshError.from(cause),
            ),
      ]);
      if (passed !== undefined) return { type: "refused", error: passed };
      sent = true;
      const order = { claim, nodeId, model, request, decision: made.decision, decisionId: recorded.id };
      return await this.#runs.run({ ...order, fence: claim.held.seq });
    } catch (cause) {
      if (cause instanceof ClaimLost) throw cause;
      return { type: "refused", error: MeshError.from(cause) };
    } finally {
      if (!sent) fleet.onDone(nodeId);
    }
  }

  /** @returns true when the job has ended; otherwise it is tried again */
  async #settle(claim: Claim, outcome: RunOutcome, signal: AbortSignal): Promise<boolean> {
    if (outcome.type === "gone") throw new ClaimLost();
    const { record } = claim.held;
    if (outcome.type === "result") {
      const { result } = outcome;
      const failure = failureOf(result, record);
      if (failure === undefined) {
        await this.#commit(claim, result, signal);
        outcome.taken();
        return true;
      }
      if (failure.code === "deadline_exceeded") {
        await this.#expire(claim, signal);
        outcome.taken();
        return true;
      }
      const lost = failure.code === "draining" || failure.code === "node_lost";
      const done = await this.#again(claim, failure, lost ? "losses" : "failures", signal);
      outcome.taken();
      return done;
    }
    if (outcome.type === "lost") return this.#again(claim, outcome.error, "losses", signal);
    if (outcome.error.code === "deadline_exceeded" && record.deadline_unix_ms <= Date.now()) {
      await this.#expire(claim, signal);
      return true;
    }
    if (!outcome.error.retryable && outcome.error.code !== "deadline_exceeded") {
      await this.#bury(claim, outcome.error, signal);
      return true;
    }
    if (record.node_id !== null) claim.exclude.add(record.node_id);
    this.#recordAgain(claim, outcome.error);
    return false;
  }

  /** Another try, unless there were too many. @returns true when that was the last */
  async #again(claim: Claim, error: MeshError, what: "losses" | "failures", signal: AbortSignal): Promise<boolean> {
    const { retry_attempts: retries } = this.#parts.policy().routing.defaults;
    const { record } = claim.held;
    const count = record[what] + 1;
    if (record.node_id !== null) claim.exclude.add(record.node_id);
    if (!error.retryable || count > (what === "losses" ? MAX_LOSSES : retries)) {
      await this.#bury(claim, error, signal, { [what]: count });
      return true;
    }
    await this.#states.write(claim, { state: "queued", holder: null, [what]: count, error: error.toWire() }, signal);
    this.#recordAgain(claim, error);
    return false;
  }

  #recordAgain(claim: Claim, error: MeshError): void {
    const { node_id: nodeId, attempts, security_level: dataClass } = claim.held.record;
    if (nodeId === null) return;
    const nothing = { to_node_id: null, decision: null, inputs: null };
    const data = { job_id: claim.jobId, attempt: attempts, from_node_id: nodeId, error: error.toWire(), ...nothing };
    this.#parts.events.record("job_redispatched", data, { dataClass });
  }

  async #commit(claim: Claim, result: JobResult, signal: AbortSignal): Promise<void> {
    const fence = claim.held.seq;
    const { record } = claim.held;
    const state = result.status === "cancelled" ? "cancelled" : "finished";
    try {
      if (state === "finished")
        await this.#states.persist(() => this.#parts.store.putResult(claim.jobId, fence, result), signal);
    } catch (cause) {
      if (!(cause instanceof MeshError) || cause.code !== "payload_too_large") throw cause;
      return this.#bury(claim, cause, signal);
    }
    const { layer, model, finish_reason, usage, timing } = result;
    const ended = { ...endingOf(record, result.status), layer, finish_reason, usage, timing, error: result.error };
    const ending = { ...ended, node_id: result.node_id ?? record.node_id, model: model ?? record.model };
    await this.#end(claim, { state, fence, ending, error: result.error }, signal);
  }

  async #expire(claim: Claim, signal: AbortSignal): Promise<void> {
    const error = new MeshError("deadline_exceeded", "the deadline passed before the job had ended");
    const ending = endingOf(claim.held.record, "expired", error);
    await this.#end(claim, { state: "expired", ending, error: error.toWire() }, signal);
  }

  async #bury(claim: Claim, error: MeshError, signal: AbortSignal, change: Partial<DurableRecord> = {}): Promise<void> {
    await this.#end(claim, { ...change, state: "dead", error: error.toWire() }, signal);
  }

  async #end(claim: Claim, change: Partial<DurableRecord>, signal: AbortSignal): Promise<void> {
    await this.#states.write(claim, { ...change, holder: null }, signal);
    this.#parts.metrics.endings.inc({ status: claim.held.record.state, code: claim.held.record.error?.code ?? "" });
    await this.#states.persist(() => this.finish(claim), signal);
  }

  /** What follows an ending, as often as it is needed: dead letter, record, acknowledgement. */
  async finish({ held, msg }: Pick<Claim, "held" | "msg">): Promise<void> {
    if (held.record.state === "dead") await this.#endings.file(held, msg);
    await this.#endings.record(held);
    msg.ack();
  }

  /** Others first: nobody takes this one now. */
  async #toTail(claim: Claim, signal: AbortSignal): Promise<void> {
    await this.#states.write(claim, { state: "queued", holder: null, round: claim.held.record.round + 1 }, signal);
    await this.#states.persist(() => this.requeue(claim), signal);
  }

  /** The message of the job's newest round takes the place of this one. */
  async requeue({ held, msg }: Pick<Claim, "held" | "msg">): Promise<void> {
    const traceparent = msg.headers?.get("traceparent") || undefined;
    await this.#parts.store.enqueue({ record: held.record, body: msg.data, traceparent });
    msg.ack();
  }

  /** If the job has ended, by whomever, its message must leave the queue. */
  async #lookOnce(claim: Claim): Promise<void> {
    try {
      const held = await this.#parts.store.read(claim.jobId);
      if (held !== undefined && hasEnded(held.record)) await this.finish({ held, msg: claim.msg });
    } catch (error) {
      this.#parts.log.warn({ err: error, job: claim.jobId }, "a durable job was let go");
    }
  }
}

export function hasEnded({ state }: DurableRecord): boolean {
  return state !== "queued" && state !== "running";
}

/** Why a run's result is none that the job may end with; undefined = it may. */
function failureOf(result: JobResult, record: DurableRecord): MeshError | undefined {
  if (result.status === "finished" || result.status === "cancelled") return undefined;
  // Timers fire a little early, and clocks differ a little.
  if (result.status === "expired" && record.deadline_unix_ms > Date.now() + CLOCKS_MS)
    return new MeshError("runtime_failed", "the run took longer than the queue's timeout_ms");
  return result.error === null
    ? new MeshError("runtime_failed", "the run failed and its node did not say why")
    : MeshError.fromWire(result.error);
}
