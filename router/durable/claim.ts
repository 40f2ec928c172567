import type { JsMsg } from "@nats-io/jetstream";
import { HEADERS, JobRequest, MeshError, lastToken, parseOrThrow, taskInputOf } from "../../bus-schemas/index.ts";
import { decode } from "../../service/codec.ts";
import type { Held } from "./job-store.ts";

/** A durable job that this router has in hand: the broker counts it against its queue's cap. */
export interface Claim {
  queue: string;
  jobId: string;
  /** The newest delivery. */
  msg: JsMsg;
  job: JobRequest;
  /** The job's state as this router wrote or read it last. */
  held: Held;
  /** Why it is not even tried. */
  poison: MeshError | undefined;
  /** Nodes that did not take it, since it last waited. */
  exclude: Set<string>;
  /** Resolves when there is nothing more to do for it here: somebody else has it, or ended it. */
  gone: PromiseWithResolvers<void>;
}

/** A durable job as its message says it, unproved. */
export interface WorkMessage {
  jobId: string;
  round: number;
  job: JobRequest;
}

/** @throws MeshError naming what is wrong with it */
export function readWork(msg: Pick<JsMsg, "subject" | "data" | "headers">): WorkMessage {
  const jobId = lastToken(msg.subject);
  const round = Number(msg.headers?.get(HEADERS.round));
  if (msg.headers?.get(HEADERS.job) !== jobId)
    throw new MeshError("bad_request", "Mesh-Job: not the job of its subject", { field: HEADERS.job });
  if (!Number.isInteger(round) || round < 1)
    throw new MeshError("bad_request", "Mesh-Round: not a number from 1", { field: HEADERS.round });
  const job = parseOrThrow(JobRequest, decode(msg.data, msg.headers.get(HEADERS.contentType)));
  taskInputOf(job);
  return { jobId, round, job };
}
