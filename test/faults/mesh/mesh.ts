import { RoutingConfig } from "../../../bus-schemas/index.ts";
import { compilePolicy } from "../../../router/policy/policy.ts";
import type { Policy } from "../../../router/policy/types.ts";
import { AuditStream } from "../world/audit-stream.ts";
import { Broker } from "../world/broker.ts";
import type { Chance } from "../world/chance.ts";
import type { Wire } from "../world/connection.ts";
import { Proc, type World } from "../world/world.ts";
import { SimAgent } from "./agent.ts";
import { SimCaller } from "./caller.ts";
import { newHistory, type History } from "./history.ts";
import { Observer } from "./observer.ts";
import { SimKeeper } from "./keeper.ts";
import type { Member, Surroundings } from "./parts.ts";
import type { Plan } from "./plan.ts";
import { SimRouter } from "./router.ts";
import type { Sabotage } from "./sabotage.ts";

/** Queues whose jobs are over within seconds, so that a seed is, too. */
const CHAT = { priority: 100, max_concurrency: 50, timeout_ms: 9000 };
const MODELS = { tiny: { layers: ["L0", "L1", "L2"] }, big: { layers: ["L0", "L1", "L2"] } };

/** Policies that are in force one after another; all keep P0 and P1 at home. */
function policiesOf({ hedgeAfterMs }: Plan): readonly Policy[] {
  const chat = hedgeAfterMs === undefined ? CHAT : { ...CHAT, hedge_after_ms: hedgeAfterMs };
  const named = (name: string, routing: Record<string, unknown>) => {
    const config = RoutingConfig.parse({ routing_policy: { task_queues: { chat }, ...routing }, models: MODELS });
    return compilePolicy(config, name);
  };
  return [
    named("sim@1", {}),
    named("sim@2", {
      security: { P1: { allowed_layers: ["L0", "L1"], require_encryption: true } },
      defaults: { retry_attempts: 4 },
    }),
    named("sim@3", { defaults: { retry_attempts: 0, fallback_order: ["L2", "L1", "L0"] } }),
  ];
}

/** A process that was told to stop is killed after this time, milliseconds. */
const STOP_LIMIT_MS = 10_000;

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
  readonly keepers: SimKeeper[];
  readonly observer: Observer;
  readonly #around: Surroundings;
  readonly #possible: readonly Policy[];
  readonly #policies = new Map<string, { revision: number; policy: Policy }>();
  #revision = 0;
  /** Members that are to start, and those that are stopping. */
  #underWay = 0;

  constructor(world: World, plan: Plan, sabotage: Sabotage) {
    this.world = world;
    this.plan = plan;
    this.#possible = policiesOf(plan);
    this.audit = new AuditStream(world);
    this.history = newHistory(this.audit.stored);
    this.broker = new Broker(world, this.audit);
    this.observer = new Observer(world, this.history, this.audit, () => this.agents);
    this.healAudit();
    this.#around = {
      world,
      broker: this.broker,
      history: this.history,
      disk: new Map(),
      wire: (name) => this.#wire(name),
      events: this.observer,
      policyOf: (router) => this.#policies.get(router)?.policy ?? (this.#possible[0] as Policy),
      manners: plan.manners,
      sabotage,
    };
    const many = <T>(count: number, make: (i: number) => T) => Array.from({ length: count }, (_, i) => make(i));
    this.routers = many(plan.routers, (i) => new SimRouter(`router-${i + 1}`, this.#around));
    this.agents = plan.agents.map((spec, i) => new SimAgent(`node-${i + 1}`, this.#around, spec));
    this.callers = many(plan.callers, (i) => new SimCaller(`caller-${i + 1}`, this.#around));
    this.keepers = many(plan.keepers, (i) => new SimKeeper(`keeper-${i + 1}`, this.#around));
    const chance = world.chance.fork("start");
    for (const member of this.members) {
      member.skewMs = chance.between(-plan.skewMs, plan.skewMs);
      this.startLater(member, chance.between(0, 300));
    }
  }

  get members(): Member[] {
    return [...this.routers, ...this.agents, ...this.callers, ...this.keepers];
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
    const restart = () => {
      if (over) return;
      over = true;
      this.#underWay--;
      if (member.proc !== proc || !proc.alive) return;
      member.crash();
      member.connection?.close();
      this.startLater(member, afterMs);
    };
    this.world.start(proc, () => void member.stop().finally(restart));
    this.world.at(this.world.nowMs + STOP_LIMIT_MS, restart);
  }

  healAudit(): void {
    const chance = this.world.chance.fork(`audit ${this.world.nowMs}`);
    this.audit.state = "up";
    this.audit.storeMs = () => chance.skewed(0.2, 5);
  }

  /** A policy that each router takes up within a second. */
  changePolicy(chance: Chance): void {
    const policy = chance.pick(this.#possible);
    const revision = ++this.#revision;
    for (const { name } of this.routers)
      this.world.at(this.world.nowMs + chance.between(0, 1000), () => {
        // The newest counts, in whatever order a router comes to hear of them.
        if ((this.#policies.get(name)?.revision ?? 0) < revision) this.#policies.set(name, { revision, policy });
      });
  }

  /** Whether a process is stopping or about to start. */
  get moving(): boolean {
    return this.#underWay > 0;
  }

  /** What is still there of jobs that should be over, by process. */
  leftovers(): string[] {
    if (this.moving) return ["a process is not back yet"];
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
}
