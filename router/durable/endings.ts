import { createHash } from "node:crypto";
import type { MsgHdrs } from "@nats-io/nats-core";
import {
  MeshError,
  type DeadLetter,
  type DurableRecord,
  type EventData,
  type Outcome,
} from "../../bus-schemas/index.ts";
import type { Held } from "./job-store.ts";
import type { DurableParts } from "./parts.ts";

/** A message whose bytes become a dead letter. */
interface Body {
  data: Uint8Array;
  headers?: MsgHdrs | undefined;
}

/**
 * How durable jobs end. Each ending is one compare-and-set of the job's state; what follows it (record, dead letter) may be
 * cut off by a crash and is then done by whoever finds the job's message in its queue: by the same event id, so that the
 * stream of events stores it once.
 */
export class Endings {
  readonly #parts: Pick<DurableParts, "events" | "store">;

  constructor(parts: Pick<DurableParts, "events" | "store">) {
    this.#parts = parts;
  }

  /** Puts on record how a job that has ended did so. Resolves when that is durable. */
  async record({ record, seq }: Held): Promise<void> {
    const { events } = this.#parts;
    const options = { dataClass: record.security_level, id: eventId("ended", record.job_id, seq) };
    const { durable } =
      record.state === "dead"
        ? events.record(
            "job_dead",
            {
              job_id: record.job_id,
              queue: record.queue,
              attempts: record.attempts,
              node_id: record.node_id,
              error: errorOf(record).toWire(),
              ...(record.caller === undefined ? {} : { caller: record.caller }),
            },
            options,
          )
        : events.record("job_ended", record.ending ?? endingOf(record, statusOf(record)), options);
    await durable;
  }

  /** Lays a dead job's message among the dead letters; a second time changes nothing. */
  async file({ record }: Held, body: Body): Promise<void> {
    const about: DeadLetter = {
      id: record.job_id,
      queue: record.queue,
      is_job: true,
      security_level: record.security_level,
      died_unix_ms: record.changed_unix_ms,
      attempts: record.attempts,
      node_id: record.node_id,
      error: errorOf(record).toWire(),
      bytes: body.data.length,
    };
    await this.#parts.store.putLetter(about, body);
  }

  /** A message that is no job: nobody waits for it, and a person may want to see it. */
  async fileGarbage(queue: string, id: string, body: Body, error: MeshError): Promise<void> {
    const about: DeadLetter = {
      id,
      queue,
      is_job: false,
      security_level: null,
      died_unix_ms: Date.now(),
      attempts: 0,
      node_id: null,
      error: error.toWire(),
      bytes: body.data.length,
    };
    await this.#parts.store.putLetter(about, body);
    this.#parts.events.record("letter_filed", { letter: id, queue, error: about.error });
  }
}

/** The same for the same: an event that is recorded again is no second one. */
export function eventId(kind: string, jobId: string, n: number): string {
  return createHash("sha256").update(`${kind}/${jobId}/${n}`).digest("hex").slice(0, 32);
}

/** What is recorded of an ending that no run made. */
export function endingOf(record: DurableRecord, status: Outcome, error?: MeshError): EventData<"job_ended"> {
  return {
    job_id: record.job_id,
    status,
    node_id: record.node_id,
    layer: null,
    model: record.model,
    decision_id: record.decision_id,
    finish_reason: null,
    usage: null,
    timing: null,
    error: error?.toWire() ?? record.error,
    ...(record.caller === undefined ? {} : { caller: record.caller }),
  };
}

function statusOf({ state }: DurableRecord): Outcome {
  return state === "finished" || state === "expired" || state === "cancelled" ? state : "failed";
}

function errorOf({ error }: DurableRecord): MeshError {
  return error === null ? new MeshError("internal", "it failed and nobody said why") : MeshError.fromWire(error);
}
