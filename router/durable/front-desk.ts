import { createHash, randomBytes } from "node:crypto";
import type { Msg } from "@nats-io/nats-core";
import {
  HEADERS,
  JobQuery,
  MeshError,
  type DurableRecord,
  type JobReceipt,
  type JobRequest,
  type JobStatus,
} from "../../bus-schemas/index.ts";
import { jobIdOfKey, newId } from "../../service/ids.ts";
import { classHeader, header, readBody, respond } from "../../service/messages.ts";
import { recordMismatch } from "../class-mismatch.ts";
import { toRouteRequest } from "../route-request.ts";
import { endingOf, eventId, type Endings } from "./endings.ts";
import { storedBody, type Held } from "./job-store.ts";
import type { DurableParts } from "./parts.ts";
import { hasEnded } from "./runner.ts";
import type { Runs } from "./runs.ts";

/** How long a durable job may take that says nothing about it, milliseconds. */
const DEFAULT_LIFE_MS = 24 * 3_600_000;
/** How often a change is tried that others came before. */
const MAX_TRIES = 8;

/** Where callers hand in durable jobs, ask for them and take them back. */
export class FrontDesk {
  readonly #parts: DurableParts;
  readonly #runs: Pick<Runs, "stopOlder">;
  readonly #endings: Endings;

  constructor(parts: DurableParts, runs: Pick<Runs, "stopOlder">, endings: Endings) {
    this.#parts = parts;
    this.#runs = runs;
    this.#endings = endings;
  }

  /**
   * Keeps a job, and answers its caller with a receipt when the broker has it.
   * @param saidId the id that its header has
   * @throws MeshError why it is not kept: `encryption_required`, `conflict`, `unknown_queue`, …
   */
  async keep(msg: Msg, job: JobRequest, saidId: string | undefined, queue: string): Promise<void> {
    const { events, store } = this.#parts;
    if (job.stream === true)
      throw new MeshError("bad_request", "stream: a durable job has no stream; ask for its result", {
        field: "stream",
      });
    const { idempotency_key: key } = job;
    const jobId = job.job_id ?? saidId ?? (key === undefined ? newId() : jobIdOfKey(key));
    const body = storedBody(job);
    if (!store.fits(body))
      throw new MeshError("payload_too_large", "the job is larger than this bus keeps in one message");
    const wanted = this.#record(msg, job, jobId, queue, body);
    let held: Held = { record: wanted, seq: 0 };
    const seq = await store.write(wanted, 0);
    const duplicate = seq === undefined;
    if (duplicate) held = await this.#same(wanted, msg, body);
    const { record } = held;
    if (record.state === "queued") {
      const traceparent = header(msg, HEADERS.traceparent);
      // Also of a repeat: the router before may have died in between.
      await store.enqueue({ record, body, traceparent });
      const data = { job_id: jobId, queue, deadline_unix_ms: record.deadline_unix_ms, request_bytes: body.length };
      const id = eventId("queued", jobId, record.round);
      events.record("job_queued", data, { dataClass: record.security_level, traceparent, id });
    }
    const { security_level, deadline_unix_ms } = record;
    const receipt: JobReceipt = { type: "queued", job_id: jobId, queue, security_level, deadline_unix_ms, duplicate };
    respond(msg, receipt);
  }

  /** A new job's record. @throws MeshError */
  #record(msg: Msg, job: JobRequest, jobId: string, queue: string, body: Uint8Array): DurableRecord {
    const nowMs = Date.now();
    const { routing } = this.#parts.policy();
    const said = Number(header(msg, HEADERS.deadline) ?? Infinity);
    const deadlineMs = Math.min(job.deadline_unix_ms ?? Infinity, said, nowMs + (job.timeout_ms ?? DEFAULT_LIFE_MS));
    if (!(deadlineMs > nowMs))
      throw new MeshError("deadline_exceeded", "the deadline has passed", { field: "deadline_unix_ms" });
    const envelope = {
      jobId,
      queue,
      headerClass: classHeader(msg),
      headerDeadlineMs: deadlineMs,
      bodyBytes: body.length,
      encrypted: false,
    };
    const request = toRouteRequest(job, envelope, routing, nowMs);
    if (routing.security[request.dataClass].require_encryption)
      throw new MeshError(
        "encryption_required",
        `${request.dataClass} jobs are taken only sealed to their node, and a queue cannot hold them so: submit it without durable`,
        { field: "durable" },
      );
    recordMismatch(this.#parts.events, msg, job, request);
    const salt = randomBytes(16).toString("base64url");
    return {
      job_id: jobId,
      queue,
      security_level: request.dataClass,
      state: "queued",
      queued_unix_ms: nowMs,
      changed_unix_ms: nowMs,
      deadline_unix_ms: Math.floor(deadlineMs),
      salt,
      digest: digest(salt, classHeader(msg), queue, body),
      round: 1,
      attempts: 0,
      failures: 0,
      losses: 0,
      node_id: null,
      model: null,
      decision_id: null,
      holder: null,
      fence: 0,
      error: null,
      ...(request.caller === undefined ? {} : { caller: request.caller }),
      ending: null,
    };
  }

  /** The job that is there already under this id. @throws MeshError `conflict` when it is another one */
  async #same(wanted: DurableRecord, msg: Msg, body: Uint8Array): Promise<Held> {
    const held = await this.#parts.store.read(wanted.job_id);
    if (held === undefined)
      throw new MeshError("bus_unavailable", "the job's state could not be read", { retryAfterMs: 500 });
    const { salt, digest: known, queue } = held.record;
    if (queue !== wanted.queue || digest(salt, classHeader(msg), queue, body) !== known)
      throw new MeshError("conflict", "another durable job has this id or idempotency key", { field: "job_id" });
    return held;
  }

  /** Answers how a job is. */
  async status(msg: Msg): Promise<void> {
    await this.#answer(msg, async (jobId) => {
      const held = await this.#find(jobId);
      const { state, deadline_unix_ms } = held.record;
      // It lies deep in its queue, and nobody will run it any more.
      if (state === "queued" && deadline_unix_ms <= Date.now()) return this.#endIt(jobId, "expired");
      return held;
    });
  }

  /** Ends a job that waits or runs, and answers how it is then. */
  async withdraw(msg: Msg): Promise<void> {
    await this.#answer(msg, (jobId) => this.#endIt(jobId, "cancelled"));
  }

  async #answer(msg: Msg, act: (jobId: string) => Promise<Held>): Promise<void> {
    try {
      const { record } = await act(readBody(msg, JobQuery).job_id);
      const kept =
        record.state === "finished" ? await this.#parts.store.result(record.job_id, record.fence) : undefined;
      respond(msg, { ...statusOf(record), result: kept ?? null });
    } catch (cause) {
      const error = MeshError.from(cause);
      if (error.code === "internal") this.#parts.log.error({ err: cause }, "a question about a durable job");
      respond(msg, { error: error.toWire() });
    }
  }

  async #endIt(jobId: string, state: "cancelled" | "expired"): Promise<Held> {
    const { store } = this.#parts;
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const held = await this.#find(jobId);
      if (hasEnded(held.record)) return held;
      const error =
        state === "cancelled"
          ? new MeshError("cancelled", "taken back")
          : new MeshError("deadline_exceeded", "the deadline passed while the job waited");
      const ending = endingOf(held.record, state, error);
      const change = { state, ending, error: error.toWire(), holder: null, changed_unix_ms: Date.now() };
      const record: DurableRecord = { ...held.record, ...change };
      const seq = await store.write(record, held.seq);
      if (seq === undefined) continue;
      if (held.record.state === "running") this.#runs.stopOlder(jobId, seq);
      await this.#endings.record({ record, seq });
      const work = await store.work(record.queue, jobId);
      if (work !== undefined) await store.deleteWork(work.seq);
      return { record, seq };
    }
    throw new MeshError("bus_unavailable", "the job's state changes too often just now", { retryAfterMs: 500 });
  }

  /** @throws MeshError `not_found` */
  async #find(jobId: string): Promise<Held> {
    const held = await this.#parts.store.read(jobId);
    if (held === undefined)
      throw new MeshError("not_found", "no durable job has this id, or it ended too long ago", { field: "job_id" });
    return held;
  }
}

/** What its caller may see of a job's record. */
export function statusOf(record: DurableRecord): JobStatus {
  const { job_id, queue, state, security_level, queued_unix_ms, changed_unix_ms, deadline_unix_ms } = record;
  const { attempts, node_id, decision_id, error } = record;
  const times = { queued_unix_ms, changed_unix_ms, deadline_unix_ms };
  const about = { job_id, queue, state, security_level, attempts, node_id, decision_id, error };
  return { type: "status", ...about, ...times, result: null };
}

function digest(salt: string, declared: string | undefined, queue: string, body: Uint8Array): string {
  return createHash("sha256")
    .update(`${salt}\n${declared ?? ""}\n${queue}\n`)
    .update(body)
    .digest("base64url");
}
