import type { Msg } from "@nats-io/nats-core";
import {
  DESK_REQUESTS,
  HEADERS,
  MeshError,
  lastToken,
  type DeskReply,
  type DeskVerb,
  type DurableRecord,
} from "../../bus-schemas/index.ts";
import { readBody, respond } from "../../service/messages.ts";
import { eventId } from "./endings.ts";
import { statusOf } from "./front-desk.ts";
import type { DurableParts } from "./parts.ts";
import type { QueueDepths } from "./queue-depths.ts";

/** Time that a requeued job has at least, milliseconds. */
const LEAST_LIFE_MS = 60_000;

type Asked<V extends DeskVerb> = ReturnType<(typeof DESK_REQUESTS)[V]["parse"]>;
type Answers = { [V in DeskVerb]: (asked: Asked<V>) => Promise<DeskReply<V>> };

/** Where operators look at queues and decide on dead letters. */
export class OperatorDesk {
  readonly #parts: DurableParts;
  readonly #depths: QueueDepths;
  readonly #answers: Answers = {
    list: (asked) => this.#list(asked),
    dead: (asked) => this.#dead(asked),
    requeue: (asked) => this.#requeue(asked),
    drop: (asked) => this.#drop(asked),
    content: (asked) => this.#content(asked),
  };

  constructor(parts: DurableParts, depths: QueueDepths) {
    this.#parts = parts;
    this.#depths = depths;
  }

  async answer(msg: Msg): Promise<void> {
    try {
      const verb = lastToken(msg.subject);
      if (!isVerb(verb)) throw new MeshError("not_found", `the desk of the queues has no ${verb.slice(0, 40)}`);
      respond(msg, await this.#ask(verb, msg));
    } catch (cause) {
      const error = MeshError.from(cause);
      if (error.code === "internal") this.#parts.log.error({ err: cause }, "the desk of the queues");
      respond(msg, { error: error.toWire() });
    }
  }

  #ask<V extends DeskVerb>(verb: V, msg: Msg): Promise<DeskReply<V>> {
    const answer = this.#answers[verb] as (asked: Asked<V>) => Promise<DeskReply<V>>;
    return answer(readBody(msg, DESK_REQUESTS[verb]) as Asked<V>);
  }

  async #list({ queue, state, limit }: Asked<"list">): Promise<DeskReply<"list">> {
    const jobs: DeskReply<"list">["jobs"] = [];
    let more = false;
    for await (const { record } of this.#parts.store.records()) {
      if ((queue ?? record.queue) !== record.queue || (state ?? record.state) !== record.state) continue;
      more = jobs.length === limit;
      if (more) break;
      jobs.push(statusOf(record));
    }
    return { queues: await this.#depths.all(queue), jobs, more };
  }

  async #dead({ queue, limit }: Asked<"dead">): Promise<DeskReply<"dead">> {
    const letters: DeskReply<"dead">["letters"] = [];
    for await (const letter of this.#parts.store.letters(queue)) {
      if (letters.length === limit) return { letters, more: true };
      letters.push(letter);
    }
    return { letters, more: false };
  }

  async #requeue({ id, queue, by }: Asked<"requeue">): Promise<DeskReply<"requeue">> {
    if (id === undefined && queue === undefined)
      throw new MeshError("bad_request", "id or queue: one of them is needed", { field: "id" });
    const reply: DeskReply<"requeue"> = { requeued: [], refused: [] };
    const ids: string[] = [];
    if (id === undefined) for await (const letter of this.#parts.store.letters(queue)) ids.push(letter.id);
    else ids.push(id);
    for (const each of ids) {
      try {
        await this.#requeueOne(each, by);
        reply.requeued.push(each);
      } catch (cause) {
        reply.refused.push({ id: each, error: MeshError.from(cause).toWire() });
      }
    }
    return reply;
  }

  /** The job begins anew, with as much time as it had. */
  async #requeueOne(id: string, by: string): Promise<void> {
    const { events, store } = this.#parts;
    const { message, about } = await this.#letter(id);
    if (!about.is_job) throw new MeshError("bad_request", "it was no job, so it cannot be one of a queue; drop it");
    const held = await store.read(id);
    const nowMs = Date.now();
    // Queued with its letter still there: whoever requeued it was cut off.
    if (held?.record.state !== "dead" && held?.record.state !== "queued")
      throw new MeshError("conflict", `the job is ${held?.record.state ?? "no longer known"}`, { field: "id" });
    let { record } = held;
    if (record.state === "dead") {
      const lifeMs = Math.max(LEAST_LIFE_MS, record.deadline_unix_ms - record.queued_unix_ms);
      const anew = { attempts: 0, failures: 0, losses: 0, fence: 0, error: null, ending: null, holder: null };
      const times = { queued_unix_ms: nowMs, changed_unix_ms: nowMs, deadline_unix_ms: nowMs + lifeMs };
      const next: DurableRecord = { ...record, ...anew, ...times, state: "queued", round: record.round + 1 };
      if ((await store.write(next, held.seq)) === undefined)
        throw new MeshError("conflict", "somebody else decided on it at the same time", { field: "id" });
      record = next;
    }
    const traceparent = message.header?.get(HEADERS.traceparent) || undefined;
    await store.enqueue({ record, body: message.data, traceparent });
    const data = { job_id: id, queue: record.queue, by, deadline_unix_ms: record.deadline_unix_ms };
    const options = { dataClass: record.security_level, traceparent, id: eventId("requeued", id, record.round) };
    await events.record("job_requeued", data, options).durable;
    await store.deleteLetter(message.seq);
  }

  async #drop({ id, by }: Asked<"drop">): Promise<DeskReply<"drop">> {
    const { message, about } = await this.#letter(id);
    await this.#parts.events.record("letter_dropped", { letter: id, queue: about.queue, by }).durable;
    await this.#parts.store.deleteLetter(message.seq);
    return { dropped: id };
  }

  async #content({ id }: Asked<"content">): Promise<DeskReply<"content">> {
    const { store } = this.#parts;
    const held = await store.read(id);
    const stored =
      held === undefined || held.record.state === "dead"
        ? (await this.#letter(id)).message
        : await store.work(held.record.queue, id);
    const result = held?.record.state === "finished" ? await store.result(id, held.record.fence) : undefined;
    return { request: stored?.string() ?? null, result: result ?? null };
  }

  /** @throws MeshError `not_found` */
  async #letter(id: string) {
    for await (const about of this.#parts.store.letters()) {
      if (about.id !== id) continue;
      const letter = await this.#parts.store.letter(about.queue, id);
      if (letter !== undefined) return letter;
    }
    throw new MeshError("not_found", "no dead letter has this id; see `tiermesh jobs dead`", { field: "id" });
  }
}

function isVerb(verb: string): verb is DeskVerb {
  return Object.hasOwn(DESK_REQUESTS, verb);
}
