import type { Msg } from "@nats-io/nats-core";
import { HEADERS, MeshError, type Decision, type EventData } from "../../bus-schemas/index.ts";
import { header, respond } from "../../service/messages.ts";
import { VERSION } from "../../service/version.ts";
import type { RouterEnding } from "../answer.ts";
import type { AuditGate } from "../audit-gate.ts";
import type { Caps } from "../caps/caps.ts";
import type { Dispatch } from "../dispatch-table.ts";
import type { RouterParts } from "../parts.ts";
import { decideRecorded } from "../policy/record-inputs.ts";
import type { RouteRequest } from "../policy/types.ts";
import { stillAsleep } from "../wake/still-asleep.ts";
import type { Waiter } from "./line.ts";

/** What a decided job is handed on to. */
export interface Sender {
  gate: AuditGate;
  caps: Caps;
  /** @throws MeshError */
  send(dispatch: Dispatch): void;
  end(ending: RouterEnding): void;
}

/** A job whose body came to the router, before its decision. */
export interface PlainJob {
  message: Msg;
  request: RouteRequest;
  /** What is recorded of how it came to its class. */
  declared?: EventData<"job_decided">["declared"];
  /** Which try this is, from 1. */
  attempt: number;
  /** Its caller takes a stream, in which it can be told that it waits. */
  stream: boolean;
  /** Its caller goes on by itself when the node is lost. */
  resumes: boolean;
  /** A node that accepted it before, and failed or was lost. */
  acceptedBy?: string | undefined;
}

/** A plain job in the line: decided when it is its turn, recorded, for P0 and P1 durably, then sent (DESIGN promise 3). */
export function plainJob(parts: RouterParts, to: Sender, job: PlainJob): Waiter {
  const { message, request, attempt, stream } = job;
  const { jobId, dataClass, taskType, caller } = request;
  const traceparent = header(message, HEADERS.traceparent);
  const ending = { message, jobId, attempts: attempt, dataClass, nodeId: job.acceptedBy, caller };

  const send = (decision: Decision, decisionId: string) => {
    const { node_id: nodeId, model } = decision;
    if (nodeId === null || model === null) throw refusalOf(decision);
    const sent = { sentAtMs: performance.now(), cancelled: false };
    to.send({ ...job, ...sent, jobId, decision, decisionId, traceparent, nodeId, model });
  };
  const sendDurable = async (decision: Decision, decisionId: string, durable: Promise<void>) => {
    const release = to.caps.hold(taskType);
    try {
      if ((await to.gate.pass(jobId, durable)) === undefined) send(decision, decisionId);
    } catch (cause) {
      to.end({ ...ending, error: MeshError.from(cause), decisionId });
    } finally {
      release();
    }
  };

  return {
    jobId,
    request,
    bytes: message.data.length,
    go(waitedMs) {
      let decisionId: string | undefined;
      try {
        const { fleet, policy, random, events, metrics } = parts;
        const { decision, inputs } = decideRecorded(request, fleet.fleet, policy(), fleet.nowMs(), random, VERSION);
        if (decision.error?.code === "all_busy") return "full";
        const help = decision.outcome === "refused" ? parts.wakes?.help(request, waitedMs) : undefined;
        if (help?.inTime === true) return "asleep";
        const sizes = { request_bytes: message.data.length, prompt_tokens_estimate: request.promptTokens };
        const waited = waitedMs > 0 ? { waited_ms: waitedMs } : {};
        const declared = job.declared === undefined ? {} : { declared: job.declared };
        const who = caller === undefined ? {} : { caller };
        const common = { job_id: jobId, attempt, deadline_unix_ms: Math.floor(request.deadlineMs), ...who };
        const data = { ...common, decision, sizes, inputs, ...declared, ...waited };
        const recorded = events.record("job_decided", data, { dataClass, traceparent });
        decisionId = recorded.id;
        metrics.decisions.inc({ outcome: decision.outcome, class: dataClass });
        if (help !== undefined) throw stillAsleep(help);
        if (dataClass === "P2") send(decision, recorded.id);
        else void sendDurable(decision, recorded.id, recorded.durable);
        return decision.outcome === "routed" ? "sent" : "ended";
      } catch (cause) {
        const error = MeshError.from(cause);
        if (error.code === "internal") parts.log.error({ err: cause, job: jobId }, "a job could not be routed");
        to.end({ ...ending, error, ...(decisionId === undefined ? {} : { decisionId }) });
        return "ended";
      }
    },
    end: (error, waitedMs) => to.end({ ...ending, error, waitedMs }),
    stillHere: () => {
      if (stream) respond(message, { type: "working", queued: true });
    },
  };
}

/** Why a decision found no node. */
export function refusalOf({ error }: Decision): MeshError {
  return error === null ? new MeshError("no_node", "no node can take this job") : MeshError.fromWire(error);
}
