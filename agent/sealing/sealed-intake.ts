import type { Msg } from "@nats-io/nats-core";
import {
  DATA_CLASSES,
  HEADERS,
  JobId,
  JobRequest,
  JobResult,
  MeshError,
  TICKET_LIFE_MS,
  estimatePromptTokens,
  isInbox,
  parseOrThrow,
  type DataClass,
  type Layer,
  type Load,
  type Ticket,
} from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import { decode } from "../../service/codec.ts";
import type { Log } from "../../service/log.ts";
import { MAX_BODY_BYTES, classHeader, header, respond } from "../../service/messages.ts";
import type { Rejections } from "../../service/rejections.ts";
import { refuseRepeatedKeys } from "../../service/repeated-key.ts";
import { openJob, readTicket, type FrameKey } from "../../service/sealing/index.ts";
import { Answer } from "../answer.ts";
import { askOf, bodyDeclares, isAboutClass } from "../ask.ts";
import type { Intake } from "../intake.ts";
import { contentOf } from "../job-content.ts";
import type { JobFacts } from "../job.ts";
import type { NodeKeys } from "./node-keys.ts";
import type { RouterKeys } from "./router-keys.ts";
import { UsedTickets } from "./used-tickets.ts";

export interface SealedIntakeParts {
  nodeId: string;
  layer: Layer;
  /** Of this start of the agent, as in the heartbeat. */
  bootId: string;
  bus: Bus;
  keys: NodeKeys;
  routers: RouterKeys;
  intake: Pick<Intake, "admit" | "tell">;
  load: () => Load;
  rejections: Pick<Rejections, "add">;
  log: Log;
  /** Wall clock. */
  nowMs: () => number;
}

/**
 * Takes sealed jobs off the bus (ADR 0011): checks the ticket, opens the job, and hands it to the intake as any other. What
 * is refused is told to the caller, in clear: a refusal has nothing of the job in it.
 */
export class SealedIntake {
  readonly #parts: SealedIntakeParts;
  readonly #used = new UsedTickets();

  constructor(parts: SealedIntakeParts) {
    this.#parts = parts;
  }

  /** Subscribes to sealed jobs of the classes that this layer may hold. */
  start(): void {
    const { bus, layer, log, nodeId } = this.#parts;
    for (const dataClass of layer === "L2" ? (["P2"] as const) : DATA_CLASSES)
      bus.listen(bus.subjects.sealed(dataClass, nodeId), (msg) => {
        this.#onSealed(msg, dataClass).catch((error: unknown) =>
          log.error({ err: error }, "a sealed job could not be handled"),
        );
      });
  }

  async #onSealed(msg: Msg, subjectClass: DataClass): Promise<void> {
    let ticket: Ticket | undefined;
    try {
      if (!isInbox(msg.reply ?? ""))
        throw new MeshError("bad_request", "a sealed job needs an inbox for its answer", { field: "reply" });
      const token = header(msg, HEADERS.ticket) ?? "";
      ticket = await this.#checkTicket(token);
      const { facts, key } = await this.#open(msg, token, ticket, subjectClass);
      const no = this.#admit(msg, ticket, facts, key);
      if (no === undefined) return;
      // A node that is full is no news; classes that disagree are.
      if (isAboutClass(no)) this.#parts.rejections.add("sealed", no);
      this.#refuse(msg, ticket, no);
    } catch (cause) {
      const error = MeshError.from(cause);
      if (error.code === "internal") this.#parts.log.error({ err: cause }, "a sealed job could not be read");
      this.#parts.rejections.add("sealed", error);
      this.#refuse(msg, ticket, error);
    }
  }

  /**
   * What a ticket must be before anything is done for it; from then on it is used up.
   * @throws MeshError `ticket_rejected` naming what is wrong.
   */
  async #checkTicket(token: string): Promise<Ticket> {
    const { nodeId, nowMs, routers } = this.#parts;
    const ticket = readTicket(token);
    if (ticket.node !== nodeId) throw rejected("node", "it is for another node");
    if (!(await routers.signed(ticket, token))) throw rejected("signature", "no live router has signed it");
    const lifeMs = ticket.expires_unix_ms - ticket.issued_unix_ms;
    const early = ticket.issued_unix_ms - nowMs() > TICKET_LIFE_MS;
    if (early || lifeMs > TICKET_LIFE_MS || ticket.expires_unix_ms <= nowMs())
      throw rejected("expires_unix_ms", "its time is over, or the clocks of router and node differ by half a minute");
    if (!this.#used.take(ticket)) throw rejected("id", "it was used before");
    return ticket;
  }

  /** @throws MeshError naming what does not fit. */
  async #open(msg: Msg, token: string, ticket: Ticket, subjectClass: DataClass) {
    const { bootId, bus, keys, nodeId } = this.#parts;
    if (ticket.boot_id !== bootId) throw rejected("boot_id", "it is for this node before its restart");
    if (ticket.class !== subjectClass) {
      const message = `the ticket is for ${ticket.class} but the job came as ${subjectClass}`;
      throw new MeshError("forbidden", message, { field: "class" });
    }
    if (msg.data.length > MAX_BODY_BYTES)
      throw new MeshError("payload_too_large", `a sealed job has at most ${MAX_BODY_BYTES} bytes`);
    const own = keys.find(ticket.kid);
    if (own === undefined) throw rejected("kid", "this node no longer has the key");
    const to = { cell: bus.subjects.prefix, node: nodeId, kid: ticket.kid, keys: own };
    const { body, answer } = await openJob(msg.data, header(msg, HEADERS.seal) ?? "", to, token, ticket.job);
    const opened = decode(body, undefined);
    refuseRepeatedKeys(body, undefined, opened);
    const request = parseOrThrow(JobRequest, opened);
    for (const said of [header(msg, HEADERS.job), request.job_id])
      if (said !== undefined && said !== ticket.job)
        throw new MeshError("forbidden", "job_id: not the job of the ticket", { field: "job_id" });
    const facts: JobFacts = {
      jobId: ticket.job,
      request,
      ...contentOf(request),
      dataClass: ticket.class,
      declared: {
        subject: subjectClass,
        header: classHeader(msg),
        body: bodyDeclares(request),
        ticket: ticket.class,
      },
      model: ticket.model,
      inbox: msg.reply ?? "",
      deadlineMs: Math.min(ticket.deadline_unix_ms, request.deadline_unix_ms ?? Infinity),
      attempt: ticket.attempt,
      queue: ticket.queue ?? null,
      decisionId: ticket.decision_id,
      traceparent: header(msg, HEADERS.traceparent),
      promptTokens: estimatePromptTokens(request, body.length),
      sealed: true,
      goAhead: undefined,
      // Nobody but its caller can seal it again.
      handBack: header(msg, HEADERS.handBack) === "caller" && request.stream === true ? "caller" : undefined,
    };
    return { facts, key: answer };
  }

  #admit(msg: Msg, ticket: Ticket, facts: JobFacts, key: FrameKey): MeshError | undefined {
    const { bus, intake, layer } = this.#parts;
    const answer = () => new Answer(bus, msg, facts.inbox, facts.request.stream === true, key);
    return intake.admit(facts, askOf(facts, layer), answer, this.#verdictSubject(ticket));
  }

  #verdictSubject({ router, id }: Ticket): string {
    const { bus, nodeId } = this.#parts;
    return bus.subjects.verdict(router, nodeId, id);
  }

  /** @param ticket undefined when it is none that was given for this node now: its router learns nothing from it. */
  #refuse(msg: Msg, ticket: Ticket | undefined, error: MeshError): void {
    const { intake, load, nodeId } = this.#parts;
    const said = JobId.safeParse(ticket?.job ?? header(msg, HEADERS.job));
    if (!said.success) return;
    // As its router records it.
    const status = error.code === "deadline_exceeded" ? ("expired" as const) : ("refused" as const);
    const refusal = { status, node_id: nodeId, error: error.toWire() };
    if (ticket !== undefined) {
      const queue = ticket.queue ?? null;
      const verdict = { type: "refused" as const, job_id: said.data, node_id: nodeId, queue, load: load() };
      intake.tell(this.#verdictSubject(ticket), { ...verdict, error: refusal.error });
    }
    const known = ticket === undefined ? {} : { security_level: ticket.class, decision_id: ticket.decision_id };
    respond(msg, JobResult.parse({ job_id: said.data, ...refusal, ...known, attempts: ticket?.attempt ?? 1 }));
  }
}

function rejected(field: keyof Ticket | "signature", why: string): MeshError {
  return new MeshError("ticket_rejected", `the ticket of the sealed job is not good: ${why}`, { field });
}
