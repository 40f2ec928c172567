import { HEADERS, isDataClass, type EventData } from "../../../bus-schemas/index.ts";
import { decode } from "../../../service/codec.ts";
import { readTicket } from "../../../service/sealing/index.ts";
import type { AuditStream } from "../world/audit-stream.ts";
import type { Message } from "../world/broker.ts";
import type { ConnectionEvents } from "../world/connection.ts";
import type { Proc, World } from "../world/world.ts";
import type { SimAgent } from "./agent.ts";
import { FORGED } from "./forger.ts";
import type { History } from "./history.ts";
import { describe } from "./parts.ts";

/** Most messages that a forger remembers. */
const MAX_HEARD = 200;
/** Who asked waits so long for a word: a router for its node, a client for whoever takes its job, milliseconds (DESIGN §3). */
const PATIENCE_MS = { router: 250, client: 2000 };

/** Looks at what processes say and hear, and writes down what the checker judges by. */
export class Observer implements ConnectionEvents {
  /** What somebody with an ear on the bus could say again. */
  readonly heard: { sealed: Message[]; heartbeats: Message[] } = { sealed: [], heartbeats: [] };
  readonly #world: World;
  readonly #history: History;
  readonly #audit: AuditStream;
  readonly #agents: () => readonly SimAgent[];
  /** By the subject on which the word is awaited. */
  readonly #awaited = new Map<string, { proc: Proc; jobId: string; untilMs: number }>();

  readonly #words = new Set<string>();

  constructor(world: World, history: History, audit: AuditStream, agents: () => readonly SimAgent[]) {
    this.#world = world;
    this.#history = history;
    this.#audit = audit;
    this.#agents = agents;
  }

  onThrow(proc: Proc, error: unknown, what: string): void {
    this.#history.errors.push(`${proc.name} throws on ${what}: ${describe(error)}`);
  }

  onPublish(proc: Proc, message: Message): void {
    const [, , kind, what] = message.subject.split(".");
    if (kind === "job") {
      if (what === "verdict") this.#onWord(proc, message);
      // A client says that it has waited in vain.
      else if (what === "cancel" && message.data.length > 0)
        this.#history.unanswered.add(message.subject.split(".").at(-1) ?? "");
      else if (what === "sealed") remember(this.heard.sealed, message);
      if (what === "run") this.#await(proc, message, PATIENCE_MS.router);
      else if (what === "submit" || what === "route" || what === "sealed")
        this.#await(proc, message, PATIENCE_MS.client);
    } else if (kind === "heartbeat") remember(this.heard.heartbeats, message);
    if (Buffer.from(message.data).includes("sealed-secret-"))
      this.#history.leaks.push(`${proc.name} ${message.subject}`);
  }

  onDeliver(proc: Proc, message: Message): void {
    const awaited = this.#awaited.get(message.subject);
    // Every router hears all words of nodes.
    if (awaited?.proc === proc) {
      this.#awaited.delete(message.subject);
      if (awaited.untilMs < this.#world.nowMs) this.#history.unanswered.add(awaited.jobId);
    }
    const [, , kind, what, subjectClass] = message.subject.split(".");
    if (kind !== "job" || (what !== "run" && what !== "sealed") || !isDataClass(subjectClass)) return;
    const agent = this.#agents().find((member) => member.proc === proc);
    if (agent === undefined) return;
    const sealed = what === "sealed";
    const header = (name: string) => message.headers?.get(name) ?? "";
    const ticket = sealed ? readTicket(header(HEADERS.ticket)) : undefined;
    const jobId = ticket?.job ?? header(HEADERS.job);
    const attempt = ticket?.attempt ?? Number(header(HEADERS.attempt));
    const decisionId = ticket?.decision_id ?? header(HEADERS.decision);
    this.#history.arrivals.push({
      atMs: this.#world.nowMs,
      node: agent.name,
      layer: agent.spec.layer,
      boot: agent.boot,
      subjectClass,
      jobId,
      decisionId,
      attempt,
      sealed,
      recorded: this.#isRecorded(jobId, decisionId, attempt, agent.name),
      forged: jobId.startsWith(FORGED),
    });
  }

  /** At the end: who still waits has waited in vain. */
  close(): void {
    for (const { jobId } of this.#awaited.values()) this.#history.unanswered.add(jobId);
  }

  #await(proc: Proc, message: Message, patienceMs: number): void {
    const jobId = message.headers?.get(HEADERS.job) ?? "";
    this.#awaited.set(message.reply, { proc, jobId, untilMs: this.#world.nowMs + patienceMs });
  }

  #onWord(proc: Proc, message: Message): void {
    const { type, job_id: jobId } = decode(message.data, message.headers?.get(HEADERS.contentType)) as {
      type: "accepted" | "refused" | "ended";
      job_id: string;
    };
    const agent = this.#agents().find((member) => member.proc === proc);
    if (agent === undefined) return;
    // Said again, it is the question whether the job is still that node's, or an ending that nobody has confirmed.
    const word = type === "accepted" ? `${proc.name} ${message.subject}` : message.reply;
    if (type !== "refused" && word !== "" && this.#words.size === this.#words.add(word).size) return;
    this.#history.words.push({ atMs: this.#world.nowMs, node: agent.name, boot: agent.boot, type, jobId });
  }

  /** Whether the record already says that this job goes to this node: by its decision, or by the word that it goes on there. */
  #isRecorded(jobId: string, decisionId: string, attempt: number, node: string): boolean {
    const decision = this.#audit.find(decisionId);
    if (decision === undefined) return false;
    const decided = decision.data as EventData<"job_decided">;
    // A try that its caller asks for, or that waited, is a decision of its own; the others keep the name of the one before.
    if (decided.attempt === attempt) return decided.job_id === jobId && decided.decision.node_id === node;
    return this.#audit.stored.some(({ type, data }) => {
      if ((type !== "job_redispatched" && type !== "job_hedged") || data["job_id"] !== jobId) return false;
      return data["attempt"] === attempt - 1 && data["to_node_id"] === node;
    });
  }
}

function remember(heard: Message[], message: Message): void {
  heard.push(message);
  if (heard.length > MAX_HEARD) heard.shift();
}
