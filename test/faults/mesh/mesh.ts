import { HEADERS, RoutingConfig, isDataClass, type EventData } from "../../../bus-schemas/index.ts";
import { compilePolicy } from "../../../router/policy/policy.ts";
import type { Policy } from "../../../router/policy/types.ts";
import { decode } from "../../../service/codec.ts";
import { readTicket } from "../../../service/sealing/index.ts";
import { AuditStream } from "../world/audit-stream.ts";
import { Broker, type Message } from "../world/broker.ts";
import type { Chance } from "../world/chance.ts";
import type { Wire } from "../world/connection.ts";
import { Proc, type World } from "../world/world.ts";
import { SimAgent } from "./agent.ts";
import { SimCaller } from "./caller.ts";
import { FORGED } from "./forger.ts";
import { newHistory, type History } from "./history.ts";
import type { Member, Surroundings } from "./parts.ts";
import type { Plan } from "./plan.ts";
import { SimRouter } from "./router.ts";
import type { Sabotage } from "./sabotage.ts";

/** Queues whose jobs are over within seconds, so that a seed is, too. */
const QUEUES = { chat: { priority: 100, max_concurrency: 50, timeout_ms: 9000 } };
const MODELS = { tiny: { layers: ["L0", "L1", "L2"] }, big: { layers: ["L0", "L1", "L2"] } };

function policyNamed(name: string, routing: Record<string, unknown>): Policy {
  const config = RoutingConfig.parse({ routing_policy: { task_queues: QUEUES, ...routing }, models: MODELS });
  return compilePolicy(config, name);
}

/** Policies that are in force one after another; all keep P0 and P1 at home. */
const POLICIES: readonly Policy[] = [
  policyNamed("sim@1", {}),
  policyNamed("sim@2", {
    security: { P1: { allowed_layers: ["L0", "L1"], require_encryption: true } },
    defaults: { retry_attempts: 4 },
  }),
  policyNamed("sim@3", { defaults: { retry_attempts: 0, fallback_order: ["L2", "L1", "L0"] } }),
];

/** Most messages that a forger remembers. */
const MAX_HEARD = 200;

/** All the processes of a mesh in one, and what is seen of them from outside. */
export class Mesh {
  readonly world: World;
  readonly plan: Plan;
  readonly history: History;
  readonly audit: AuditStream;
  readonly broker: Broker;
  readonly routers: SimRouter[];
  readonly agents: SimAgent[];
  readonly callers: SimCaller[];
  /** What somebody with an ear on the bus could say again. */
  readonly heard: { sealed: Message[]; heartbeats: Message[] } = { sealed: [], heartbeats: [] };
  readonly #around: Surroundings;
  readonly #policies = new Map<string, Policy>();
  /** Members that are to start, and those that are stopping. */
  #underWay = 0;

  constructor(world: World, plan: Plan, sabotage: Sabotage) {
    this.world = world;
    this.plan = plan;
    this.audit = new AuditStream(world);
    this.history = newHistory(this.audit.stored);
    this.broker = new Broker(world, this.audit);
    this.healAudit();
    this.#around = {
      world,
      broker: this.broker,
      history: this.history,
      disk: new Map(),
      wire: (name) => this.#wire(name),
      events: {
        onPublish: (proc, message) => this.#onPublish(proc, message),
        onDeliver: (proc, message) => this.#onDeliver(proc, message),
        onThrow: (proc, error, what) =>
          void this.history.errors.push(`${proc.name} throws on ${what}: ${String((error as Error).stack ?? error)}`),
      },
      policyOf: (router) => this.#policies.get(router) ?? (POLICIES[0] as Policy),
      manners: plan.manners,
      sabotage,
    };
    const many = <T>(count: number, make: (i: number) => T) => Array.from({ length: count }, (_, i) => make(i));
    this.routers = many(plan.routers, (i) => new SimRouter(`router-${i + 1}`, this.#around));
    this.agents = plan.agents.map((spec, i) => new SimAgent(`node-${i + 1}`, this.#around, spec));
    this.callers = many(plan.callers, (i) => new SimCaller(`caller-${i + 1}`, this.#around));
    const chance = world.chance.fork("start");
    for (const member of this.members) {
      member.skewMs = chance.between(-plan.skewMs, plan.skewMs);
      this.startLater(member, chance.between(0, 300));
    }
  }

  get members(): Member[] {
    return [...this.routers, ...this.agents, ...this.callers];
  }

  /** One more caller, who was not there during the faults. */
  newCaller(name: string): SimCaller {
    const caller = new SimCaller(name, this.#around);
    this.callers.push(caller);
    this.startLater(caller, 0);
    return caller;
  }

  startLater(member: Member, afterMs: number): void {
    this.#underWay++;
    this.world.at(this.world.nowMs + afterMs, () => {
      this.#underWay--;
      if (member.alive) return;
      const name = `${member.name}#${member.boot + 1}`;
      member.start(new Proc(name, this.world.nowMs, this.world.chance.fork(name), member.skewMs));
    });
  }

  /** An orderly stop, then a new start. One that takes too long is killed, as by its supervisor. */
  stopAndStart(member: Member, afterMs: number): void {
    const { proc } = member;
    if (proc === undefined) return;
    this.#underWay++;
    let over = false;
    const next = () => {
      if (over) return;
      over = true;
      this.#underWay--;
      if (member.proc !== proc || !proc.alive) return;
      member.crash();
      member.connection?.close();
      this.startLater(member, afterMs);
    };
    this.world.start(proc, () => void member.stop().then(next, next));
    this.world.at(this.world.nowMs + 10_000, next);
  }

  healAudit(): void {
    const chance = this.world.chance.fork(`audit ${this.world.nowMs}`);
    this.audit.state = "up";
    this.audit.storeMs = () => chance.skewed(0.2, 5);
  }

  /** A policy that each router takes up within a second. */
  changePolicy(chance: Chance): void {
    const policy = chance.pick(POLICIES);
    for (const { name } of this.routers)
      this.world.at(this.world.nowMs + chance.between(0, 1000), () => this.#policies.set(name, policy));
  }

  /** What is still there of jobs that should be over, by process. */
  leftovers(): string[] {
    if (this.#underWay > 0) return ["a process is not back yet"];
    return this.members.flatMap((member) => member.leftovers().map((what) => `${member.name}: ${what}`));
  }

  #wire(name: string): Wire {
    const { latency, gridMs, maxBytes } = this.plan;
    const chance = this.world.chance.fork(`wire ${name} ${this.world.nowMs}`);
    const baseMs = chance.skewed(...latency.baseMs);
    const latencyMs = () =>
      chance.yes(latency.spikes) ? chance.between(baseMs, latency.spikeMs) : baseMs * chance.between(1, 1.5);
    return { latencyMs, gridMs, maxBytes };
  }

  #onPublish(proc: Proc, message: Message): void {
    const [, , kind, what] = message.subject.split(".");
    if (kind === "job" && what === "verdict") this.#onWord(proc, message);
    else if (kind === "job" && what === "sealed") remember(this.heard.sealed, message);
    else if (kind === "heartbeat") remember(this.heard.heartbeats, message);
    if (Buffer.from(message.data).includes("sealed-secret-"))
      this.history.leaks.push(`${proc.name} ${message.subject}`);
  }

  #onWord(proc: Proc, message: Message): void {
    const { type, job_id: jobId } = decode(message.data, message.headers?.get(HEADERS.contentType)) as {
      type: "accepted" | "refused" | "ended";
      job_id: string;
    };
    const agent = this.agents.find((member) => member.proc === proc);
    if (agent === undefined) return;
    this.history.words.push({ atMs: this.world.nowMs, node: agent.name, boot: agent.boot, type, jobId });
  }

  #onDeliver(proc: Proc, message: Message): void {
    const [, , kind, what, subjectClass] = message.subject.split(".");
    if (kind !== "job" || (what !== "run" && what !== "sealed") || !isDataClass(subjectClass)) return;
    const agent = this.agents.find((member) => member.proc === proc);
    if (agent === undefined) return;
    const sealed = what === "sealed";
    const header = (name: string) => message.headers?.get(name) ?? "";
    const ticket = sealed ? readTicket(header(HEADERS.ticket)) : undefined;
    const jobId = ticket?.job ?? header(HEADERS.job);
    const attempt = ticket?.attempt ?? Number(header(HEADERS.attempt));
    const decisionId = ticket?.decision_id ?? header(HEADERS.decision);
    this.history.arrivals.push({
      atMs: this.world.nowMs,
      node: agent.name,
      layer: agent.spec.layer,
      boot: agent.boot,
      subjectClass,
      jobId,
      decisionId,
      attempt,
      sealed,
      recorded: this.#isRecorded(jobId, decisionId, sealed ? 1 : attempt, agent.name),
      forged: jobId.startsWith(FORGED),
    });
  }

  /** Whether the record already says that this job goes to this node: by its decision, or by the word that it goes on there. */
  #isRecorded(jobId: string, decisionId: string, attempt: number, node: string): boolean {
    const decision = this.audit.find(decisionId);
    if (decision === undefined) return false;
    const to = (decision.data as EventData<"job_decided">).decision.node_id;
    if (attempt === 1) return decision.data["job_id"] === jobId && to === node;
    return this.audit.stored.some(({ type, data }) => {
      if (type !== "job_redispatched" || data["job_id"] !== jobId) return false;
      return data["attempt"] === attempt - 1 && data["to_node_id"] === node;
    });
  }
}

function remember(heard: Message[], message: Message): void {
  heard.push(message);
  if (heard.length > MAX_HEARD) heard.shift();
}
