import fc from "fast-check";
import { expect, test } from "vitest";
import { Verdict, type RouterShares } from "../../bus-schemas/index.ts";
import { seeded } from "../../test/kit/routing.ts";
import { LEASE_MS, Peers } from "./peers.ts";

/** Simulated time passes in steps of this length, milliseconds; messages take up to {@link DELAY_STEPS} of them. */
const STEP_MS = 50;
const DELAY_STEPS = 4;
/** After this time a router has heard the others, and they it. */
const WHILE_MS = 2500;
const GRACE_MS = 1500;
const QUEUE = "chat";
/** Longer than any job here runs. */
const TIMEOUT_MS = 6000;
const LOAD = { slots: 1, running: 0, queued: 0, queue_limit: 0, pending_prefill_tokens: 0 };

interface Message {
  atStep: number;
  to: string;
  deliver: (peers: Peers, nowMs: number) => void;
}

interface Router {
  peers: Peers;
  alive: boolean;
  /** Dispatches that run at nodes: token → step at which they end. */
  jobs: Map<string, number>;
  announceAtStep: number;
  joinedMs: number;
  /** When it says its last word; it takes nothing more. */
  leavesAtStep?: number;
}

/**
 * Routers, a bus that delivers to each in order but late, and nodes that accept and end jobs. Every router takes as many
 * jobs as it may; what is checked is that the jobs that run never exceed the cap.
 */
class World {
  readonly cap: number;
  readonly #random: () => number;
  readonly routers = new Map<string, Router>();
  /** For each router the messages on their way, oldest first: one connection keeps the order. */
  readonly #inbound = new Map<string, Message[]>();
  #step = 0;
  #count = 0;
  /** Until then the others have not all taken note that one is dead. */
  #settledMs = 0;
  most = 0;
  taken = 0;

  constructor(cap: number, random: () => number) {
    this.cap = cap;
    this.#random = random;
  }

  get nowMs(): number {
    return this.#step * STEP_MS;
  }

  get alive(): [string, Router][] {
    return [...this.routers].filter(([, { alive }]) => alive);
  }

  join(): void {
    const name = `r${this.#count++}`;
    const router: Router = {
      peers: new Peers(name, this.nowMs),
      alive: true,
      jobs: new Map(),
      announceAtStep: 0,
      joinedMs: this.nowMs,
    };
    this.routers.set(name, router);
    this.#inbound.set(name, []);
    this.#announce(name, router);
  }

  /**
   * Its jobs run on; nobody hears of it but by its silence. One that has been there for a while survives: a router that starts
   * when the last other one dies cannot know what that one has left (ADR 0018).
   */
  kill(which: number): void {
    const victim = this.#mayGo(which);
    if (victim === undefined) return;
    victim.alive = false;
    this.#settledMs = this.nowMs + LEASE_MS + GRACE_MS;
  }

  /** In order: it takes nothing more, and says its last word when no node's word is awaited any more. */
  leave(which: number): void {
    const router = this.#mayGo(which);
    if (router !== undefined) router.leavesAtStep ??= this.#step + DELAY_STEPS + 1;
  }

  /** One at a time: what only a dead router's heirs know is lost with them. */
  #mayGo(which: number): Router | undefined {
    const [, router] = this.alive[which % Math.max(1, this.alive.length)] ?? [];
    const heirs = this.alive.filter(([, each]) => each !== router && each.leavesAtStep === undefined);
    const knows = heirs.some(([, { joinedMs }]) => this.nowMs - joinedMs > WHILE_MS);
    return knows && this.nowMs > this.#settledMs ? router : undefined;
  }

  pass(steps: number): void {
    for (let i = 0; i < steps; i++) this.#pass();
  }

  #pass(): void {
    this.#step++;
    for (const [name, router] of this.alive) {
      const inbound = this.#inbound.get(name) ?? [];
      while (inbound[0] !== undefined && inbound[0].atStep <= this.#step)
        inbound.shift()?.deliver(router.peers, this.nowMs);
      if (router.peers.sweep(this.nowMs, new Map([[QUEUE, TIMEOUT_MS]])) || router.announceAtStep <= this.#step)
        this.#announce(name, router);
      if (router.leavesAtStep !== this.#step) continue;
      router.peers.leave();
      this.#announce(name, router);
      router.alive = false;
    }
    for (const [name, router] of this.routers) {
      for (const [token, endsAtStep] of router.jobs) {
        if (endsAtStep > this.#step) continue;
        router.jobs.delete(token);
        this.#verdict("ended", name, token);
      }
      while (
        router.alive &&
        router.leavesAtStep === undefined &&
        router.jobs.size < router.peers.limit(QUEUE, this.cap, this.nowMs)
      ) {
        const token = `${this.#count++}`;
        router.jobs.set(token, this.#step + 1 + Math.floor(this.#random() * 100));
        this.taken++;
        this.#verdict("accepted", name, token);
      }
    }
    let running = 0;
    for (const { jobs } of this.routers.values()) running += jobs.size;
    this.most = Math.max(this.most, running);
  }

  #announce(name: string, router: Router): void {
    router.announceAtStep = this.#step + 1000 / STEP_MS;
    const used = router.jobs.size === 0 ? {} : { [QUEUE]: router.jobs.size };
    const said: RouterShares = router.peers.announcement(used, [QUEUE], this.nowMs);
    this.#toAll((to, nowMs) => {
      const receiver = this.routers.get(to.me);
      if (to.hear(name, said, nowMs) && receiver !== undefined) this.#announce(to.me, receiver);
    });
  }

  #verdict(type: "accepted" | "ended", router: string, token: string): void {
    const common = { job_id: `job-${token.padStart(8, "0")}`, node_id: "n1", queue: QUEUE, load: LOAD };
    const verdict = Verdict.parse({
      type,
      ...common,
      ...(type === "ended" ? { status: "finished", timing: null } : {}),
    });
    this.#toAll((to, nowMs) => {
      if (to.me !== router) to.onVerdict(verdict, router, token, nowMs);
    });
  }

  #toAll(deliver: Message["deliver"]): void {
    for (const [to] of this.alive) {
      const inbound = this.#inbound.get(to) ?? [];
      const delayed = this.#step + 1 + Math.floor(this.#random() * DELAY_STEPS);
      inbound.push({ atStep: Math.max(delayed, inbound.at(-1)?.atStep ?? 0), to, deliver });
    }
  }
}

const act = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("pass" as const), steps: fc.integer({ min: 1, max: 80 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("join" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("kill" as const), which: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("leave" as const), which: fc.nat(5) }) },
);

test("while routers come, go and die under load, the jobs that run never exceed the cap, and it is used again", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 30 }),
      fc.array(act, { maxLength: 25 }),
      fc.nat(1_000_000),
      (cap, acts, seed) => {
        const world = new World(cap, seeded(seed));
        world.join();
        for (const each of acts) {
          if (each.kind === "pass") world.pass(each.steps);
          else if (each.kind === "join" && world.alive.length < 5) world.join();
          else if (each.kind === "kill") world.kill(each.which);
          else if (each.kind === "leave") world.leave(each.which);
          world.pass(1);
          expect(world.most).toBeLessThanOrEqual(cap);
        }
        // After things have calmed down nothing of the cap is lost.
        world.pass(30_000 / STEP_MS);
        const limits = world.alive.map(([, { peers }]) => peers.limit(QUEUE, cap, world.nowMs));
        expect(limits.reduce((sum, limit) => sum + limit, 0)).toBe(cap);
        expect(world.most).toBeLessThanOrEqual(cap);
        expect(world.most).toBeGreaterThan(0);
      },
    ),
    { numRuns: 150 },
  );
});

test("the most urgent of what waits at others is known while it is news, and what is said last counts", () => {
  const [peers, other] = [new Peers("a", 0), new Peers("b", 0)];
  expect(peers.waitingElsewhere(0)).toBeNull();
  peers.hear("b", other.announcement({}, [QUEUE], 0, 80), 0);
  peers.hear("c", new Peers("c", 0).announcement({}, [QUEUE], 0, 60), 0);
  expect(peers.waitingElsewhere(100)).toBe(80);
  peers.hear("b", other.announcement({}, [QUEUE], 200), 200);
  expect(peers.waitingElsewhere(300)).toBe(60);
  expect(peers.waitingElsewhere(5000)).toBeNull();
});
