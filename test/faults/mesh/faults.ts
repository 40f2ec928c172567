import type { Break, Connection } from "../world/connection.ts";
import type { Chance } from "../world/chance.ts";
import type { SimAgent } from "./agent.ts";
import { Forger } from "./forger.ts";
import type { Disturbance } from "./history.ts";
import type { Mesh } from "./mesh.ts";
import type { Member } from "./parts.ts";
import type { Fault } from "./plan.ts";

/** Does one fault after another to a mesh, by the chance of its seed. */
export class Faults {
  readonly #mesh: Mesh;
  readonly #chance: Chance;
  readonly #forger: Forger;
  /** Nothing happens from then on, virtual milliseconds. */
  readonly #untilMs: number;

  constructor(mesh: Mesh, untilMs: number) {
    this.#mesh = mesh;
    this.#chance = mesh.world.chance.fork("faults");
    this.#forger = new Forger(mesh);
    this.#untilMs = untilMs;
  }

  /**
   * Spreads the plan's faults over the time until the end; every other one comes when a job has just come.
   * @param jobsAtMs when jobs come
   */
  schedule(jobsAtMs: readonly number[]): void {
    const { plan, world } = this.#mesh;
    const chance = this.#chance;
    for (let i = 0; i < plan.faultCount; i++) {
      const atMs = chance.yes(0.5)
        ? chance.pick(jobsAtMs) + chance.skewed(0.1, 500)
        : chance.between(world.nowMs, this.#untilMs);
      if (atMs < this.#untilMs) world.at(atMs, () => this.#strike(chance.pick(plan.faults)));
    }
  }

  #strike(fault: Fault): void {
    const { world, routers, callers } = this.#mesh;
    world.note(`fault: ${fault}`);
    const chance = this.#chance;
    switch (fault) {
      case "router crash":
        return this.#crash(chance.pick(routers));
      case "agent crash":
        return this.#crash(this.#anyNode());
      case "caller crash":
        return this.#crash(chance.pick(callers));
      case "router stop":
        return this.#stop(chance.pick(routers));
      case "agent stop":
        return this.#stop(this.#anyNode());
      case "work thread crash":
        return this.#crashWork();
      case "cut":
        return this.#cut(this.#anyone(), 50);
      case "half-open cut":
        return this.#cut(this.#anyone(), 9000);
      case "stall":
        return this.#stall(this.#anyone());
      case "broker restart":
        return this.#restartBroker();
      case "pause":
        return this.#pause(this.#anyone());
      case "audit gone":
      case "audit silent":
      case "audit slow":
        return this.#troubleAudit(fault);
      case "clock step":
        return this.#stepClock(this.#anyone());
      case "policy change":
        return this.#changePolicy();
      case "forger":
        return this.#forge();
    }
  }

  /** A node with work is hit more often than one without: there is more to break. */
  #anyNode(): SimAgent {
    const { agents } = this.#mesh;
    const busy = agents.filter(({ runtime }) => runtime?.busy === true);
    return this.#chance.pick(busy.length > 0 && this.#chance.yes(0.7) ? busy : agents);
  }

  #anyone(): Member {
    const { callers, members } = this.#mesh;
    const lot = this.#chance.next();
    return lot < 0.4 ? this.#anyNode() : this.#chance.pick<Member>(lot < 0.7 ? callers : members);
  }

  /** A time that is over before the healing. */
  #while(least: number, most: number): number {
    const leftMs = Math.max(0, this.#untilMs - this.#mesh.world.nowMs);
    return Math.min(this.#chance.skewed(least, most), leftMs);
  }

  #disturb(kind: Disturbance["kind"], who: string, forMs: number): void {
    const atMs = this.#mesh.world.nowMs;
    this.#mesh.history.disturbances.push({ atMs, untilMs: atMs + forMs, kind, who });
  }

  #crash(member: Member): void {
    if (!member.alive || member.connection === undefined) return;
    const downMs = this.#while(20, 5000);
    // The kernel sends what was written and closes; or the machine is gone, and the broker notices late: until then it takes
    // the dead process for one that listens.
    const poweredOff = this.#chance.yes(0.3);
    const brokerNoticesMs = poweredOff ? this.#while(50, 10_000) : this.#chance.between(1, 5);
    this.#disturb("crash", member.name, Math.max(downMs, brokerNoticesMs));
    const { connection } = member;
    member.crash();
    connection.cut({
      brokerNoticesMs,
      clientNoticesMs: 0,
      backAfterMs: Infinity,
      flushed: !poweredOff,
    });
    this.#mesh.startLater(member, downMs);
  }

  #stop(member: Member): void {
    if (!member.alive) return;
    this.#disturb("stop", member.name, 9000);
    this.#mesh.stopAndStart(member, this.#chance.skewed(20, 3000));
  }

  #crashWork(): void {
    const agent = this.#anyNode();
    const { proc } = agent;
    if (!agent.alive || proc === undefined) return;
    const backMs = this.#while(200, 3000);
    this.#disturb("runtime", agent.name, backMs);
    this.#mesh.world.start(proc, () => agent.crashWork(backMs));
  }

  #cut(member: Member, noticedWithinMs: number): void {
    const { connection } = member;
    if (!member.alive || connection === undefined) return;
    this.#break(member.name, connection, noticedWithinMs);
  }

  #break(name: string, connection: Connection, noticedWithinMs: number): void {
    const how: Break = {
      brokerNoticesMs: this.#while(1, noticedWithinMs),
      clientNoticesMs: this.#while(1, noticedWithinMs),
      backAfterMs: this.#while(1, 3000),
    };
    connection.cut(how);
    this.#disturb("cut", name, Math.max(how.brokerNoticesMs, how.clientNoticesMs) + how.backAfterMs + 1000);
  }

  /** A hiccup, about what a router waits for a node, or what a client waits for anyone. */
  #absence(): number {
    return this.#while(
      ...this.#chance.pick<[number, number]>([
        [5, 200],
        [200, 600],
        [1800, 7000],
      ]),
    );
  }

  #stall(member: Member): void {
    const forMs = this.#absence();
    this.#disturb("stall", member.name, forMs);
    member.connection?.stall(forMs, this.#chance.pick(["up", "down", "down", "both"]));
  }

  #restartBroker(): void {
    const backAfterMs = this.#while(50, 2000);
    this.#disturb("cut", "*", backAfterMs + 1500);
    for (const { connection } of this.#mesh.members)
      connection?.cut({ brokerNoticesMs: 0, clientNoticesMs: this.#chance.between(0, 20), backAfterMs });
  }

  #pause(member: Member): void {
    if (member.proc === undefined) return;
    const forMs = this.#absence();
    this.#disturb("pause", member.name, forMs);
    this.#mesh.world.pause(member.proc, forMs);
  }

  #troubleAudit(fault: "audit gone" | "audit silent" | "audit slow"): void {
    const { audit, world } = this.#mesh;
    const forMs = this.#while(100, 6000);
    this.#disturb("audit", "*", forMs);
    if (fault === "audit slow") audit.storeMs = () => this.#chance.skewed(1, 2500);
    else audit.state = fault === "audit gone" ? "gone" : "silent";
    world.at(world.nowMs + forMs, () => this.#mesh.healAudit());
  }

  #stepClock(member: Member): void {
    if (member.proc === undefined) return;
    const byMs = this.#chance.skewed(5, 8000) * (this.#chance.yes(0.5) ? 1 : -1);
    this.#disturb("clock", member.name, 0);
    member.skewMs += byMs;
    member.proc.skewMs += byMs;
  }

  #changePolicy(): void {
    this.#disturb("policy", "*", 1000);
    this.#mesh.changePolicy(this.#chance);
  }

  #forge(): void {
    this.#disturb("forger", "*", 2000);
    this.#forger.strike(this.#chance);
  }
}
