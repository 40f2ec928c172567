import { PermissionViolationError, type Msg } from "@nats-io/nats-core";
import { CONTENT_TYPES, HEADERS, TICKET_LIFE_MS, type DataClass, type Ticket } from "../../bus-schemas/index.ts";
import { connectBus, type Bus, type BusAddress } from "../../service/bus.ts";
import { decode, encode } from "../../service/codec.ts";
import { createLog } from "../../service/log.ts";
import { header } from "../../service/messages.ts";
import { TicketSigner, paddedJson, readTicket, sealJob, type FrameKey } from "../../service/sealing/index.ts";
import { MODELS, NODES, RawHeaders, type Flaw, type HostileJob } from "./hostile-jobs.ts";
import type { WalledMesh } from "./walled-mesh.ts";

/** No answer in this time is none, milliseconds: far longer than any takes. */
const PATIENCE_MS = 20_000;
/** Router that the insider says it is. */
const EVIL = "evil-t";

/** One message that wants an answer. */
interface Question {
  /** What came back that ends it, in order; exactly one is right. */
  endings: string[];
  key: FrameKey | undefined;
  resolve: (ending: string) => void;
}

/** What became of a job: an ending for each message that was sent for it; `dropped` by the broker. */
export interface Fate {
  job: HostileJob;
  endings: string[][];
}

type Lines = [string, string][];

/** A node finds no job id in headers that cannot be read, so it tells nobody. */
const UNHEARD = ["unheard"];

function readable(lines: Lines): boolean {
  return lines.every(([name, value]) => /^[\w-]+$/.test(name) && !/[\r\n]/.test(value));
}

/** Sends hostile jobs as a client of the mesh, and as one who got hold of a router's key, and hears what is said to them. */
export class HostileSender implements AsyncDisposable {
  readonly #client: Bus;
  readonly #insider: Bus;
  readonly #mesh: WalledMesh;
  readonly #guarded: boolean;
  readonly #signer = new TicketSigner();
  readonly #questions = new Map<string, Question>();
  #count = 0;
  /** Messages that the broker refused to pass on. */
  violations = 0;

  private constructor(client: Bus, insider: Bus, mesh: WalledMesh, guarded: boolean) {
    this.#client = client;
    this.#insider = insider;
    this.#mesh = mesh;
    this.#guarded = guarded;
  }

  /** @param guarded whether the broker refuses what a client may not say, so that no other answer comes */
  static async open(
    addresses: { client: BusAddress; router: BusAddress },
    mesh: WalledMesh,
    guarded: boolean,
  ): Promise<HostileSender> {
    const log = createLog("test", "silent");
    const client = await connectBus("hostile", addresses.client, log);
    const sender = new HostileSender(client, await connectBus("insider", addresses.router, log), mesh, guarded);
    for (const bus of [sender.#client, sender.#insider]) {
      for (const kind of ["answer", "verdict"] as const)
        bus.listen(`${bus.inbox}.${kind}.*`, (msg) => sender.#onMessage(msg, kind));
      await bus.nc.flush();
    }
    void sender.#countViolations();
    return sender;
  }

  /** Announces the insider's own key for tickets: what a router's key allows. Call it at least every five seconds. */
  async announce(): Promise<void> {
    const { kid, publicKey } = this.#signer;
    const { nc, subjects } = this.#insider;
    nc.publish(subjects.routerKey(EVIL), encode({ router: EVIL, kid, public_key: publicKey }, "json"));
    await nc.flush();
  }

  async send(job: HostileJob): Promise<Fate> {
    return { job, endings: await this.#send(job) };
  }

  async #send(job: HostileJob): Promise<string[][]> {
    const { subjects } = this.#client;
    const lines: Lines = [...job.headers, [HEADERS.job, job.jobId]];
    switch (job.way) {
      case "submit":
        return [await this.#ask(subjects.submit("chat"), job.body, lines)];
      case "ticket":
        return this.#byTicket(job, lines);
      case "run":
        if (!this.#guarded) return [await this.#run(this.#client, job, lines)];
        this.#client.nc.publish(subjects.run(job.subjectClass, NODES.cloud), job.body, {
          headers: new RawHeaders(lines),
        });
        await this.#client.nc.flush();
        return [["dropped"]];
      case "insider":
        return [await this.#run(this.#insider, job, lines)];
      case "sealed":
        return [await this.#sealed(job, lines)];
    }
  }

  /** A job as a router dispatches it, past all routers. */
  async #run(as: Bus, job: HostileJob, lines: Lines): Promise<string[]> {
    const { question, answer, verdict } = this.#question(as);
    const model = typeof job.request["model"] === "string" ? job.request["model"] : MODELS.cloudOnly;
    const headers = new RawHeaders([
      ...lines,
      [HEADERS.reply, answer],
      [HEADERS.model, model],
      [HEADERS.deadline, String(Date.now() + 60_000)],
    ]);
    as.nc.publish(as.subjects.run(job.subjectClass, NODES.cloud), job.body, { headers, reply: verdict });
    return readable(lines) ? this.#ended(question) : UNHEARD;
  }

  /** Asks a router for a ticket, uses it as it should be, then again, for the egress node, and on another class's subject. */
  async #byTicket(job: HostileJob, lines: Lines): Promise<string[][]> {
    const { nc, subjects } = this.#client;
    const { question, answer } = this.#question(this.#client);
    // Of the last ticket that a router gives, it tells the ending itself, beside the node.
    const asked = {
      ...job.request,
      prompt: undefined,
      messages: undefined,
      padding: undefined,
      attempt: 1,
      ticket: true,
    };
    const about = lines.filter(([name]) => name.toLowerCase() !== "content-type");
    nc.publish(subjects.route, encode(asked, "json"), { headers: new RawHeaders(about), reply: answer });
    const endings = [await this.#ended(question)];
    const token = /^ticket (.*)$/.exec(question.endings[0] ?? "")?.[1];
    if (token === undefined) return endings;
    const ticket = readTicket(token);
    const right = await this.#seal(job, token, ticket.node, ticket.kid, ticket.public_key, ticket.job);
    for (let i = 0; i < 2; i++) endings.push(await this.#sealedTo(ticket.class, ticket.node, right, token, lines));
    const crossed = await this.#sealForCloud(job, token, ticket.job);
    for (const dataClass of [ticket.class, "P2"] as const)
      endings.push(await this.#sealedTo(dataClass, NODES.cloud, crossed, token, lines));
    return endings;
  }

  async #sealed(job: HostileJob, lines: Lines): Promise<string[]> {
    const { flaw } = job.ticket;
    const ticket = this.#forge(job);
    const token = (flaw === "forged" ? new TicketSigner() : this.#signer).sign(ticket);
    const bound = flaw === "sealed for another ticket" ? this.#signer.sign({ ...ticket, id: "another" }) : token;
    const node = flaw === "sealed for another node" ? NODES.home : NODES.cloud;
    const made = await this.#seal(job, bound, node, ticket.kid, ticket.public_key, ticket.job);
    return this.#sealedTo(job.subjectClass, NODES.cloud, made, token, lines);
  }

  #forge({ n, jobId, ticket: { class: dataClass, flaw } }: HostileJob): Ticket {
    const nowMs = Date.now();
    const { bootId, kid, publicKey } = this.#cloud();
    const wrong: Partial<Record<Flaw, Partial<Ticket>>> = {
      "unknown router": { router: "nobody-t" },
      expired: { issued_unix_ms: nowMs - TICKET_LIFE_MS - 1, expires_unix_ms: nowMs - 1 },
      "other node": { node: NODES.home },
      "other boot": { boot_id: "before" },
      "other job": { job: `${jobId}-b` },
    };
    return {
      v: 1,
      router: EVIL,
      signer: this.#signer.kid,
      id: `t${n}`,
      job: jobId,
      class: dataClass,
      node: NODES.cloud,
      layer: "L2",
      boot_id: bootId,
      model: MODELS.cloudOnly,
      kid,
      public_key: publicKey,
      issued_unix_ms: nowMs,
      expires_unix_ms: nowMs + TICKET_LIFE_MS,
      deadline_unix_ms: nowMs + 60_000,
      decision_id: "01FORGED",
      attempt: 1,
      ...wrong[flaw],
    };
  }

  #cloud(): { bootId: string; kid: string; publicKey: string } {
    const { bootId = "", keys } = this.#mesh.nodes[NODES.cloud] ?? {};
    const [key] = keys?.announced ?? [];
    return { bootId, kid: key?.kid ?? "", publicKey: key?.public_key ?? "" };
  }

  #sealForCloud(job: HostileJob, token: string, jobId: string) {
    const { kid, publicKey } = this.#cloud();
    return this.#seal(job, token, NODES.cloud, kid, publicKey, jobId);
  }

  #seal(job: HostileJob, token: string, node: string, kid: string, publicKey: string, jobId: string) {
    const to = { cell: this.#client.subjects.prefix, node, kid, publicKey };
    return sealJob(paddedJson(job.request), to, token, jobId);
  }

  async #sealedTo(
    dataClass: DataClass,
    node: string,
    made: Awaited<ReturnType<typeof sealJob>>,
    token: string,
    lines: Lines,
  ): Promise<string[]> {
    const own = lines.filter(([name]) => name !== HEADERS.ticket && name !== HEADERS.seal);
    const all: Lines = [...own, [HEADERS.ticket, token], [HEADERS.seal, made.enc]];
    const subject = this.#client.subjects.sealed(dataClass, node);
    if (readable(lines)) return this.#ask(subject, made.sealed, all, made.answer);
    this.#client.nc.publish(subject, made.sealed, { headers: new RawHeaders(all) });
    return UNHEARD;
  }

  async #ask(subject: string, body: Uint8Array, lines: Lines, key?: FrameKey): Promise<string[]> {
    const { question, answer } = this.#question(this.#client, key);
    this.#client.nc.publish(subject, body, { headers: new RawHeaders(lines), reply: answer });
    return this.#ended(question);
  }

  #question(as: Bus, key?: FrameKey) {
    const id = String(this.#count++);
    const { promise, resolve } = Promise.withResolvers<string>();
    const question = { endings: [], key, resolve };
    this.#questions.set(id, question);
    return {
      question: Object.assign(question, { promise }),
      answer: `${as.inbox}.answer.${id}`,
      verdict: `${as.inbox}.verdict.${id}`,
    };
  }

  /** @returns the endings, which may grow when there is a second one. */
  async #ended({ endings, promise, resolve }: Question & { promise: Promise<string> }): Promise<string[]> {
    const timer = setTimeout(() => resolve("silence"), PATIENCE_MS);
    await promise;
    clearTimeout(timer);
    return endings;
  }

  #onMessage(msg: Msg, kind: "answer" | "verdict"): void {
    const question = this.#questions.get(msg.subject.slice(msg.subject.lastIndexOf(".") + 1));
    const ending = kind === "verdict" ? verdictOf(msg) : endingOf(msg, question?.key);
    if (ending === undefined || question === undefined) return;
    question.endings.push(ending);
    question.resolve(ending);
  }

  async #countViolations(): Promise<void> {
    for await (const status of this.#client.nc.status())
      if (status.type === "error" && status.error instanceof PermissionViolationError) this.violations++;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.drain();
    await this.#insider.drain();
  }
}

function isGone(msg: Msg): boolean {
  return msg.headers?.code === 503 && msg.data.length === 0;
}

/** A node that takes the job answers it; one that does not has said all. */
function verdictOf(msg: Msg): string | undefined {
  if (isGone(msg)) return "gone";
  const { type, error } = decode(msg.data, header(msg, HEADERS.contentType)) as {
    type: string;
    error?: { code: string };
  };
  return type === "refused" ? `refused ${error?.code}` : undefined;
}

function endingOf(msg: Msg, key: FrameKey | undefined): string | undefined {
  if (isGone(msg)) return "gone";
  const type = header(msg, HEADERS.contentType);
  const opened = type === CONTENT_TYPES.sealed ? key?.open(Number(header(msg, HEADERS.seq)), msg.data) : undefined;
  const said = decode(opened ?? msg.data, opened === undefined ? type : undefined) as {
    type?: string;
    status?: string;
    ticket?: string | null;
    error?: { code: string } | null;
  };
  if (said.type === "end") return `${said.status} ${said.error?.code ?? ""}`.trim();
  if (typeof said.ticket === "string") return `ticket ${said.ticket}`;
  if (said.ticket === null) return "no ticket needed";
  return said.error ? `refused ${said.error.code}` : undefined;
}
