import {
  AckPolicy,
  DeliverPolicy,
  JetStreamApiError,
  jetstream,
  jetstreamManager,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg,
  type StoredMsg,
} from "@nats-io/jetstream";
import type { MsgHdrs } from "@nats-io/nats-core";
import {
  CONTENT_TYPES,
  DeadLetter,
  DurableRecord,
  HEADERS,
  JobResult,
  MeshError,
  type JobRequest,
} from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import { newId } from "../../service/ids.ts";
import { KV_ERR, isApiError, readKv } from "../../service/kv.ts";
import { makeHeaders } from "../../service/messages.ts";

/** JetStream answers within this time, milliseconds: it writes to disk first. */
const ANSWER_LIMIT_MS = 5000;
/** JetStream's error code for a stream that takes no more (nats-server, errors.json). */
const STREAM_FULL = 10_077;
/** More than the headers of a message of ours ever are, bytes. */
const BESIDE_BYTES = 8192;
/** Messages of one look through a stream. */
const PAGE = 500;

/** A job's record as it is stored; `seq` is what the next change must come after, and of a running job its fencing token. */
export interface Held {
  record: DurableRecord;
  seq: number;
}

/** A durable job on its way into its queue. */
export interface QueuedBody {
  record: DurableRecord;
  body: Uint8Array;
  traceparent: string | undefined;
}

/** How long results are kept, milliseconds: a day, unless the router is told otherwise. */
export const DEFAULT_KEEP_MS = 24 * 3_600_000;

/** The streams of durable jobs (service/streams.ts), as routers use them. What it throws is `bus_unavailable` unless said. */
export class JobStore {
  readonly #bus: Bus;
  readonly #keepMs: number;
  readonly #js: JetStreamClient;
  readonly #manager: JetStreamManager;

  private constructor(bus: Bus, keepMs: number, manager: JetStreamManager) {
    this.#bus = bus;
    this.#keepMs = keepMs;
    this.#js = jetstream(bus.nc, { timeout: ANSWER_LIMIT_MS });
    this.#manager = manager;
  }

  static async open(bus: Bus, keepMs = DEFAULT_KEEP_MS): Promise<JobStore> {
    return new JobStore(bus, keepMs, await jetstreamManager(bus.nc, { timeout: ANSWER_LIMIT_MS, checkAPI: false }));
  }

  /** @returns undefined for a job that is not, or no longer, known */
  async read(jobId: string): Promise<Held | undefined> {
    const { jobStreams, jobState } = this.#bus.subjects;
    const message = await asked(readKv(this.#manager, jobStreams.states, { last_by_subj: jobState(jobId) }));
    return message === undefined ? undefined : heldOf(message);
  }

  /**
   * Compare and set: writes the record if `after` is still the number of the newest of this job, 0 = there is none.
   * @returns its number, or undefined when somebody else was first
   */
  async write(record: DurableRecord, after: number): Promise<number | undefined> {
    try {
      const { seq } = await this.#js.publish(this.#bus.subjects.jobState(record.job_id), JSON.stringify(record), {
        expect: { lastSubjectSequence: after },
        // From its end on, or from the deadline, at which it has ended whoever notices.
        ttl: seconds(Math.max(record.deadline_unix_ms - record.changed_unix_ms, 0) * unended(record) + this.#keepMs),
      });
      return seq;
    } catch (cause) {
      if (isApiError(cause, KV_ERR.wrongLastSequence)) return undefined;
      throw unavailable(cause);
    }
  }

  /** Puts a job in its queue; the same round a second time is stored once. @throws MeshError `all_busy` for a full queue */
  async enqueue({ record, body, traceparent }: QueuedBody): Promise<void> {
    const { job_id: jobId, queue, round } = record;
    const headers = makeHeaders({
      [HEADERS.contentType]: CONTENT_TYPES.json,
      [HEADERS.job]: jobId,
      [HEADERS.dataClass]: record.security_level,
      [HEADERS.deadline]: String(record.deadline_unix_ms),
      [HEADERS.round]: String(round),
      [HEADERS.traceparent]: traceparent,
    });
    try {
      const { work } = this.#bus.subjects;
      await this.#js.publish(work(queue, jobId), body, { headers, msgID: `${jobId}/${round}` });
    } catch (cause) {
      if (isApiError(cause, STREAM_FULL))
        throw new MeshError("all_busy", "the queues on this bus are full", { retryAfterMs: 10_000 });
      throw unavailable(cause);
    }
  }

  /** @throws MeshError `payload_too_large` */
  async putResult(jobId: string, fence: number, result: JobResult): Promise<void> {
    const subject = this.#bus.subjects.jobResult(jobId, String(fence));
    const body = Buffer.from(JSON.stringify(result));
    if (!this.fits(body)) throw new MeshError("payload_too_large", "the answer is larger than the bus takes");
    await asked(this.#js.publish(subject, body, { ttl: seconds(this.#keepMs) }));
  }

  /** @returns undefined when it is no longer kept */
  async result(jobId: string, fence: number): Promise<JobResult | undefined> {
    const { jobStreams, jobResult } = this.#bus.subjects;
    const query = { last_by_subj: jobResult(jobId, String(fence)) };
    const message = await asked(readKv(this.#manager, jobStreams.results, query));
    return message === undefined ? undefined : JobResult.safeParse(json(message)).data;
  }

  /** A job's message in its queue, running ones too. */
  async work(queue: string, jobId: string): Promise<StoredMsg | undefined> {
    const { jobStreams, work } = this.#bus.subjects;
    return asked(readKv(this.#manager, jobStreams.work, { last_by_subj: work(queue, jobId) }));
  }

  async letter(queue: string, id: string): Promise<{ about: DeadLetter; message: StoredMsg } | undefined> {
    const { jobStreams, letter } = this.#bus.subjects;
    const message = await asked(readKv(this.#manager, jobStreams.letters, { last_by_subj: letter(queue, id) }));
    const about = message === undefined ? undefined : letterOf(message.header);
    return message === undefined || about === undefined ? undefined : { about, message };
  }

  /** Whether a body and what we write beside it are a message on this bus. */
  fits(body: Uint8Array): boolean {
    return body.length + BESIDE_BYTES <= (this.#bus.nc.info?.max_payload ?? Infinity);
  }

  /** Lays a message among the dead letters, as it is; of one that is too large for that only what is known of it. */
  async putLetter(about: DeadLetter, msg: { data: Uint8Array; headers?: MsgHdrs | undefined }): Promise<void> {
    const kept = [HEADERS.contentType, HEADERS.job, HEADERS.dataClass, HEADERS.traceparent];
    const headers = makeHeaders({
      ...Object.fromEntries(kept.map((name) => [name, msg.headers?.get(name) || undefined])),
      [HEADERS.letter]: encodeURIComponent(JSON.stringify(about)),
    });
    const data = this.fits(msg.data) ? msg.data : new Uint8Array();
    await asked(this.#js.publish(this.#bus.subjects.letter(about.queue, about.id), data, { headers }));
  }

  async deleteWork(seq: number): Promise<void> {
    await this.#delete(this.#bus.subjects.jobStreams.work, seq);
  }

  async deleteLetter(seq: number): Promise<void> {
    await this.#delete(this.#bus.subjects.jobStreams.letters, seq);
  }

  /** Every record, oldest change first. */
  async *records(): AsyncGenerator<Held, void, undefined> {
    const { jobStreams, jobStates } = this.#bus.subjects;
    for await (const msg of this.#look(jobStreams.states, jobStates, false)) {
      const held = heldOf({ seq: msg.seq, data: msg.data });
      if (held !== undefined) yield held;
    }
  }

  /** What is known of each dead letter, oldest first; none is opened. */
  async *letters(queue = "*"): AsyncGenerator<DeadLetter, void, undefined> {
    const { jobStreams, prefix } = this.#bus.subjects;
    for await (const msg of this.#look(jobStreams.letters, `${prefix}.queue.letter.${queue}.*`, true)) {
      const about = letterOf(msg.headers);
      if (about !== undefined) yield about;
    }
  }

  /** Looks through a stream by a consumer that is gone afterwards. */
  async *#look(stream: string, subject: string, headersOnly: boolean): AsyncGenerator<JsMsg, void, undefined> {
    const name = `look-${newId()}`;
    const config = {
      name,
      ack_policy: AckPolicy.None,
      deliver_policy: DeliverPolicy.All,
      filter_subject: subject,
      headers_only: headersOnly,
      inactive_threshold: 30 * 1_000_000_000,
      mem_storage: true,
    };
    const info = await asked(this.#manager.consumers.add(stream, config));
    try {
      const consumer = this.#js.consumers.getConsumerFromInfo(info);
      for (let left = info.num_pending; left > 0;) {
        let got = 0;
        const page = Math.min(PAGE, left);
        for await (const msg of await consumer.fetch({ max_messages: page, expires: ANSWER_LIMIT_MS })) {
          got++;
          yield msg;
        }
        // What ended meanwhile does not come.
        if (got < page) return;
        left -= got;
      }
    } finally {
      await this.#manager.consumers.delete(stream, name).catch(() => undefined);
    }
  }

  async #delete(stream: string, seq: number): Promise<void> {
    try {
      await this.#manager.streams.deleteMessage(stream, seq, false);
    } catch (cause) {
      // Gone already.
      if (!(cause instanceof JetStreamApiError)) throw unavailable(cause);
    }
  }
}

function heldOf(message: { seq: number; data: Uint8Array }): Held | undefined {
  const parsed = DurableRecord.safeParse(json(message));
  return parsed.success ? { record: parsed.data, seq: message.seq } : undefined;
}

function letterOf(headers: MsgHdrs | undefined): DeadLetter | undefined {
  try {
    return DeadLetter.safeParse(JSON.parse(decodeURIComponent(headers?.get(HEADERS.letter) ?? ""))).data;
  } catch {
    return undefined;
  }
}

function json({ data }: { data: Uint8Array }): unknown {
  try {
    return JSON.parse(Buffer.from(data).toString("utf8"));
  } catch {
    return undefined;
  }
}

/** 1 until a job has ended. */
function unended({ state }: DurableRecord): number {
  return state === "queued" || state === "running" ? 1 : 0;
}

function seconds(ms: number): string {
  return `${Math.max(1, Math.ceil(ms / 1000))}s`;
}

async function asked<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (cause) {
    throw unavailable(cause);
  }
}

function unavailable(cause: unknown): MeshError {
  return cause instanceof MeshError
    ? cause
    : new MeshError("bus_unavailable", "JetStream does not take or give durable jobs now", {
        cause,
        retryAfterMs: 1000,
      });
}

/** The job as it is stored: text that any later version reads, with nothing in it that the records say. */
export function storedBody(job: JobRequest): Uint8Array {
  const { durable: _, job_id: _id, idempotency_key: _key, timeout_ms: _timeout, deadline_unix_ms: _at, ...rest } = job;
  return Buffer.from(JSON.stringify(rest));
}
