import type { Msg } from "@nats-io/nats-core";
import {
  CONTENT_TYPES,
  HEADERS,
  JobResult,
  MeshError,
  ROUTE_FIELDS,
  StreamFrame,
  TicketReply,
  WireError,
  estimatePromptTokens,
  parseOrThrow,
  type JobRequestInput,
  type RouteQuery,
  type Ticket,
} from "../../bus-schemas/index.ts";
import { decode, encode } from "../../service/codec.ts";
import { header, headersFor, makeHeaders } from "../../service/messages.ts";
import { expectJob, paddedJson, readTicket, sealJob, type FrameKey } from "../../service/sealing/index.ts";
import {
  broken,
  failure,
  isNoResponder,
  readFrame,
  type Incoming,
  type StreamOptions,
  type StreamPort,
} from "../attempt.ts";

/** A router says how many tickets a job may ask for; none says more than this (bus-schemas/policy.ts: 10 retries). */
const MAX_TICKETS = 20;

/** Where an attempt stands: the ticket is asked for, the job is being sealed, or it is on its way to its node. */
type State =
  | { at: "asking" }
  | { at: "sealing" }
  | { at: "sent"; ticket: Ticket; attemptsLeft: number; key: FrameKey; accepted: boolean };

export interface SealedJob {
  jobId: string;
  request: JobRequestInput;
  options: StreamOptions;
  /** Which ticket for this job, from 1. */
  attempt: number;
  /** Nodes that did not take it. */
  exclude: readonly string[];
}

/**
 * One attempt at a sealed job (ADR 0011): asks a router for a ticket, with nothing of the job's content; seals the job to the
 * node that the ticket names and sends it there; opens the frames of the answer. Messages go in by `receive`, what they mean
 * to the stream comes out by `push`.
 */
export class SealedAttempt {
  readonly #port: StreamPort;
  readonly #job: SealedJob;
  readonly #inbox: string;
  readonly #push: (item: Incoming) => void;
  #state: State = { at: "asking" };

  constructor(port: StreamPort, job: SealedJob, inbox: string, push: (item: Incoming) => void) {
    this.#port = port;
    this.#job = job;
    this.#inbox = inbox;
    this.#push = push;
  }

  /** The node that has the job now, when its ticket is out. */
  get node(): string | undefined {
    return this.#state.at === "sent" ? this.#state.ticket.node : undefined;
  }

  /** So many further tickets its router would give; undefined before it has said so. */
  get triesLeft(): number | undefined {
    return this.#state.at === "sent" ? this.#state.attemptsLeft : undefined;
  }

  /** Asks for the ticket. @throws MeshError what the bus says to it. */
  start(): void {
    const { request, jobId, options, attempt, exclude } = this.#job;
    const about: Record<string, unknown> = {};
    for (const field of ROUTE_FIELDS) if (request[field] !== undefined) about[field] = request[field];
    const query: RouteQuery = {
      ...about,
      ticket: true,
      job_id: jobId,
      task_type: options.queue,
      prompt_tokens: estimatePromptTokens(request, Buffer.byteLength(JSON.stringify(request))),
      attempt,
      exclude_nodes: [...exclude],
      ...(request.continue_from === undefined ? {} : { continues: true }),
    };
    const headers = headersFor("shared", { ...this.#headers(), [HEADERS.resume]: String(attempt) });
    this.#port.publish(this.#port.routeSubject, encode(query, "shared"), { headers, reply: this.#inbox });
  }

  receive(msg: Msg): void {
    const state = this.#state;
    if (state.at === "asking") this.#onReply(msg);
    else if (state.at === "sent") this.#onFrame(msg, state);
    // While it is being sealed nobody knows the job: what comes is not about it.
  }

  #headers(): Record<string, string | undefined> {
    const { jobId, options } = this.#job;
    return {
      [HEADERS.job]: jobId,
      [HEADERS.dataClass]: options.dataClass,
      [HEADERS.traceparent]: options.traceparent,
    };
  }

  #onReply(msg: Msg): void {
    if (isNoResponder(msg)) return this.#push({ kind: "no_router" });
    let body: unknown;
    try {
      body = decode(msg.data, header(msg, HEADERS.contentType));
    } catch {
      return this.#push(broken("the router's answer to the request for a ticket is malformed"));
    }
    // The router has no node for it yet.
    if (isWaiting(body)) return this.#push({ kind: "frame", frame: { type: "working", queued: true }, seq: undefined });
    const ending = isEnding(body) ? JobResult.safeParse(body) : undefined;
    if (ending?.success === true) return this.#end(ending.data);
    const reply = TicketReply.safeParse(body);
    // Also where it would be refused: a router records that when the job is submitted.
    if (reply.success && !reply.data.sealed) return this.#push({ kind: "again", how: { sealed: false } });
    if (reply.success && reply.data.ticket !== null) {
      this.#state = { at: "sealing" };
      return void this.#send(reply.data, reply.data.ticket);
    }
    const refused = WireError.safeParse((body as { error?: unknown } | null)?.error);
    if (refused.success) {
      const status = refused.data.code === "deadline_exceeded" ? "expired" : "refused";
      return this.#end(failure(this.#job.jobId, status, MeshError.fromWire(refused.data)));
    }
    this.#push(broken("the router's answer to the request for a ticket is malformed"));
  }

  /** Seals the job and sends it; never rejects. */
  async #send(reply: TicketReply, token: string): Promise<void> {
    const { jobId, request } = this.#job;
    let nodeId: string | undefined;
    try {
      const ticket = readTicket(token);
      if (ticket.job !== jobId || ticket.class !== reply.security_level)
        throw new MeshError("ticket_rejected", "the router's ticket is for another job");
      nodeId = ticket.node;
      const body = paddedJson({ ...request, job_id: jobId, stream: true });
      const { sealed, enc, answer } = await sealJob(body, this.#addressee(ticket), token, jobId);
      this.#state = { at: "sent", ticket, attemptsLeft: reply.attempts_left, key: answer, accepted: false };
      const headers = makeHeaders({
        ...this.#headers(),
        [HEADERS.contentType]: CONTENT_TYPES.sealed,
        [HEADERS.dataClass]: ticket.class,
        [HEADERS.ticket]: token,
        [HEADERS.seal]: enc,
        [HEADERS.handBack]: reply.attempts_left > 0 ? "caller" : undefined,
      });
      this.#port.publish(this.#port.sealedSubject(ticket.class, ticket.node), sealed, { headers, reply: this.#inbox });
    } catch (cause) {
      const error = MeshError.from(cause);
      if (error.code !== "ticket_rejected") return this.#push({ kind: "unsent", error });
      // A key that cannot be sealed to is its node's fault; another node may have a good one.
      this.#next(failure(jobId, "refused", error), reply.attempts_left, nodeId);
    }
  }

  #addressee({ node, kid, public_key: publicKey }: Ticket) {
    return { cell: this.#port.cellPrefix, node, kid, publicKey };
  }

  #onFrame(msg: Msg, state: Extract<State, { at: "sent" }>): void {
    const { jobId } = this.#job;
    const { node } = state.ticket;
    if (isNoResponder(msg)) {
      if (state.accepted) return;
      const error = new MeshError("node_lost", `${node} is not on the bus`);
      return this.#next(failure(jobId, "refused", error), state.attemptsLeft, node);
    }
    if (header(msg, HEADERS.contentType) === CONTENT_TYPES.sealed) return this.#onSealed(msg, state);
    // In clear there are only endings without an answer: the node refuses, or the router knows that it is lost.
    const item = readFrame(msg);
    if (item.kind === "lost") {
      if (state.accepted) return this.#push(item);
      const error = new MeshError("node_lost", `${node} was lost before it took the job`);
      return this.#next(failure(jobId, "refused", error), state.attemptsLeft, node);
    }
    if (
      item.kind !== "frame" ||
      item.seq !== undefined ||
      item.frame.type !== "end" ||
      item.frame.status === "finished"
    )
      return this.#push(broken("the answer of a sealed job came in clear"));
    const ending = { ...item.frame, message: null };
    if (ending.status !== "refused" || state.accepted) return this.#end(ending);
    // A ticket that came too late says nothing against its node, once.
    const { code, retryable } = ending.error ?? { code: "internal", retryable: false };
    if (!retryable) return this.#end(ending);
    this.#next(ending, state.attemptsLeft, code === "ticket_rejected" && this.#job.attempt === 1 ? undefined : node);
  }

  #onSealed(msg: Msg, state: Extract<State, { at: "sent" }>): void {
    const seq = Number(header(msg, HEADERS.seq));
    try {
      const frame = parseOrThrow(StreamFrame, decode(state.key.open(seq, msg.data), undefined));
      state.accepted = true;
      // Now, and not while the node works on this one: on a small machine that would be in its way.
      if (frame.type === "end") expectJob(this.#addressee(state.ticket));
      this.#push({ kind: "frame", frame, seq });
    } catch {
      this.#push(broken("a frame of the sealed answer does not open"));
    }
  }

  /** On to the next ticket, or the end when there is none left. */
  #next(refusal: JobResult, attemptsLeft: number, without: string | undefined): void {
    if (attemptsLeft === 0 || this.#job.attempt >= MAX_TICKETS) return this.#end(refusal);
    this.#push({ kind: "again", how: without === undefined ? { sealed: true } : { sealed: true, without } });
  }

  #end(frame: JobResult): void {
    this.#push({ kind: "frame", frame, seq: undefined });
  }
}

function isWaiting(body: unknown): boolean {
  return (body as { type?: unknown } | null)?.type === "working";
}

/** A look before the whole check, which takes a while to find that a decision is no ending. */
function isEnding(body: unknown): boolean {
  return (body as { type?: unknown } | null)?.type === "end";
}
