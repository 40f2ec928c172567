import type { Timing } from "../../bus-schemas/index.ts";
import { decide } from "../../router/policy/decide.ts";
import { EXPECTED_OUTPUT_TOKENS } from "../../router/route-request.ts";
import type { Policy, RouteRequest } from "../../router/policy/types.ts";
import { AnswerLengths } from "./answer-lengths.ts";
import type { Arrival } from "./arrivals.ts";
import { EventQueue } from "./event-queue.ts";
import type { FleetFile, JobKind } from "./fleet-file.ts";
import type { JobEnding, SimJob } from "./job.ts";
import { SimNode, type Ended } from "./node.ts";
import { lognormal, seededRandom, type Random } from "./random.ts";
import { SimRouter, type SimDispatch } from "./router.ts";
import { STRATEGIES, type Choice, type StrategyName } from "./strategies.ts";

/** Virtual time begins here; a policy with working hours sees a Friday, 2027-01-15, 10:00 UTC. */
const START_MS = Date.UTC(2027, 0, 15, 10);
/** Agents jitter their heartbeats by this share (agent/heartbeat.ts). */
const JITTER = 0.05;
/** Spread of the network's delay: standard deviation of the logarithm. */
const NETWORK_SPREAD = 0.3;
/** A running simulation says how far it is each time after so many jobs. */
const PROGRESS_EVERY = 500;

export interface SimOptions {
  fleet: FleetFile;
  policy: Policy;
  arrivals: readonly Arrival[];
  strategy: StrategyName;
  routers: number;
  heartbeatMs: number;
  /** A job that has not ended after this time is expired, milliseconds. */
  timeoutMs: number;
  /** Whether jobs carry their session ids. */
  sessions: boolean;
  seed: number;
  /** Told now and then how many jobs have ended. */
  onProgress?: (ended: number) => void;
}

export interface SimResult {
  jobs: readonly SimJob[];
  nodes: readonly SimNode[];
  /** Virtual time from the first arrival to the last ending, milliseconds. */
  spanMs: number;
  dispatches: number;
  /** Dispatches that a node refused. */
  refusals: number;
  /** The same by error code. */
  naks: Record<string, number>;
  /** Dispatches after the first of a job. */
  redispatches: number;
}

/** Runs a load through a fleet on virtual time. The same options give the same result. */
export function simulate(options: SimOptions): SimResult {
  const world = new World(options);
  return world.run();
}

class World {
  readonly #options: SimOptions;
  readonly #events = new EventQueue(START_MS);
  readonly #nodes = new Map<string, SimNode>();
  readonly #routers: SimRouter[];
  readonly #jobs: SimJob[];
  readonly #lengths: AnswerLengths;
  /** One stream of random numbers for each purpose, so that strategies meet the same load and the same network. */
  readonly #random: Record<"network" | "routing" | "routers", Random>;
  readonly #naks: Record<string, number> = {};
  readonly #counts = { dispatches: 0, refusals: 0, redispatches: 0, ended: 0 };

  constructor(options: SimOptions) {
    this.#options = options;
    this.#lengths = new AnswerLengths(options.arrivals);
    const { fleet, heartbeatMs, seed } = options;
    this.#random = {
      network: seededRandom(seed * 7919 + 1),
      routing: seededRandom(seed * 7919 + 2),
      routers: seededRandom(seed * 7919 + 3),
    };
    let number = 0;
    for (const group of fleet.nodes) {
      const digits = String(group.count).length;
      for (let i = 1; i <= group.count; i++) {
        const id = `${group.name}-${String(i).padStart(digits, "0")}`;
        const random = seededRandom(seed * 104_729 + number++);
        this.#nodes.set(id, new SimNode(id, group, heartbeatMs, this.#events, random));
      }
    }
    const { learns } = STRATEGIES[options.strategy];
    this.#routers = Array.from(
      { length: options.routers },
      () => new SimRouter(() => this.#events.nowMs, options.routers, learns),
    );
    const kinds = kindsBy(fleet.jobs, seededRandom(seed * 7919 + 4));
    this.#jobs = options.arrivals.map((arrival, i): SimJob => {
      const arrivedAtMs = START_MS + heartbeatMs + arrival.atMs;
      const { model, security_level: dataClass } = kinds();
      const deadlineMs = arrivedAtMs + options.timeoutMs;
      const id = `sim-${String(i).padStart(8, "0")}`;
      return { id, arrival, arrivedAtMs, deadlineMs, dataClass, wanted: model, attempts: 0, ending: undefined };
    });
  }

  run(): SimResult {
    for (const node of this.#nodes.values()) this.#startHeartbeat(node);
    this.#planArrival(0);
    while (this.#counts.ended < this.#jobs.length && this.#events.step());
    const firstAtMs = this.#jobs[0]?.arrivedAtMs ?? START_MS;
    const { dispatches, refusals, redispatches } = this.#counts;
    const spanMs = this.#events.nowMs - firstAtMs;
    return {
      jobs: this.#jobs,
      nodes: [...this.#nodes.values()],
      spanMs,
      dispatches,
      refusals,
      naks: this.#naks,
      redispatches,
    };
  }

  /** Every node is heard once before the first job, as a cold router listens first (DESIGN promise 5). */
  #startHeartbeat(node: SimNode): void {
    const { network } = this.#random;
    const beat = () => {
      const record = node.heartbeat();
      for (const router of this.#routers)
        this.#events.after(this.#delay(node), () => router.onHeartbeat(record, this.#events.nowMs));
      const jitter = 1 + JITTER * (2 * network() - 1);
      this.#events.after(this.#options.heartbeatMs * jitter, beat);
    };
    this.#events.after(network() * this.#options.heartbeatMs * 0.9, beat);
  }

  #planArrival(index: number): void {
    const job = this.#jobs[index];
    if (job === undefined) return;
    this.#events.at(job.arrivedAtMs, () => {
      this.#planArrival(index + 1);
      const router = this.#routers[Math.floor(this.#random.routers() * this.#routers.length)];
      if (router !== undefined) this.#route(job, router, new Set());
    });
  }

  #route(job: SimJob, router: SimRouter, exclude: ReadonlySet<string>): void {
    const { policy, strategy } = this.#options;
    const request = this.#request(job, exclude);
    const choice = STRATEGIES[strategy].choose({
      request,
      arrival: job.arrival,
      fleet: router.fleet,
      policy,
      nowMs: this.#events.nowMs,
      random: this.#random.routing,
      nodes: this.#nodes,
      lengths: this.#lengths,
    });
    const node = choice === undefined ? undefined : this.#nodes.get(choice.nodeId);
    if (choice === undefined || node === undefined) {
      const code = decide(request, router.fleet, policy, this.#events.nowMs, this.#random.routing).error?.code;
      return this.#refuse(job, code ?? "no_node");
    }
    job.attempts++;
    this.#counts.dispatches++;
    if (job.attempts > 1) this.#counts.redispatches++;
    const dispatch: SimDispatch = { nodeId: choice.nodeId, request, predictedMs: choice.predictedMs };
    router.onDispatch(dispatch);
    this.#events.after(this.#delay(node), () => this.#arriveAt(node, job, router, dispatch, choice));
  }

  #arriveAt(node: SimNode, job: SimJob, router: SimRouter, dispatch: SimDispatch, choice: Choice): void {
    const { id: jobId, arrival, dataClass, deadlineMs } = job;
    const no = node.take({ jobId, arrival, dataClass, deadlineMs, model: choice.model }, (ended) =>
      this.#onEnded(node, job, router, dispatch, choice, ended),
    );
    if (no === undefined) return void this.#tell(node, router);
    this.#counts.refusals++;
    this.#naks[no.code] = (this.#naks[no.code] ?? 0) + 1;
    this.#tell(node, router, () => {
      router.onRefused(dispatch);
      const { retry_attempts: retries } = this.#options.policy.routing.defaults;
      if (job.attempts <= retries) return this.#route(job, router, new Set([...dispatch.request.exclude, node.id]));
      this.#refuse(job, no.code);
    });
  }

  #onEnded(node: SimNode, job: SimJob, router: SimRouter, dispatch: SimDispatch, choice: Choice, ended: Ended): void {
    const { status, acceptedAtMs, startedAtMs, firstAtMs, endedAtMs, cachedTokens } = ended;
    const timing: Timing = {
      queued_ms: startedAtMs - acceptedAtMs,
      ttft_ms: firstAtMs === null ? null : firstAtMs - startedAtMs,
      total_ms: endedAtMs - acceptedAtMs,
    };
    const delayMs = this.#tell(node, router, () => router.onEnded(dispatch, timing, status === "finished"));
    this.#end(job, {
      status,
      nodeId: node.id,
      layer: choice.layer,
      model: choice.model,
      ttftMs: firstAtMs === null ? null : firstAtMs + delayMs - job.arrivedAtMs,
      totalMs: endedAtMs + delayMs - job.arrivedAtMs,
      cachedTokens,
      code: null,
    });
  }

  #refuse(job: SimJob, code: string): void {
    const totalMs = this.#events.nowMs - job.arrivedAtMs;
    const nobody = { nodeId: null, layer: null, model: null, ttftMs: null, cachedTokens: 0 };
    this.#end(job, { status: "refused", ...nobody, totalMs, code });
  }

  /**
   * A verdict: every router hears the load in it, the job's own also the rest. @returns the way to the job's router, ms
   */
  #tell(node: SimNode, router: SimRouter, verdict?: () => void): number {
    const load = node.load();
    let ownDelayMs = 0;
    for (const each of this.#routers) {
      const delayMs = this.#delay(node);
      if (each === router) ownDelayMs = delayMs;
      this.#events.after(delayMs, () => {
        each.onLoad(node.id, load);
        if (each === router) verdict?.();
      });
    }
    return ownDelayMs;
  }

  #end(job: SimJob, ending: JobEnding): void {
    if (job.ending !== undefined) throw new Error(`${job.id} ended twice`);
    job.ending = ending;
    this.#counts.ended++;
    if (this.#counts.ended % PROGRESS_EVERY === 0) this.#options.onProgress?.(this.#counts.ended);
  }

  /** As router/route-request.ts makes it of a chat job. */
  #request(job: SimJob, exclude: ReadonlySet<string>): RouteRequest {
    const { arrival, dataClass, deadlineMs, id, wanted } = job;
    return {
      jobId: id,
      taskType: "chat",
      dataClass,
      model: wanted,
      capabilities: [],
      promptTokens: arrival.promptTokens,
      expectedOutputTokens: EXPECTED_OUTPUT_TOKENS,
      contextTokens: arrival.promptTokens,
      vramGb: undefined,
      encrypted: true,
      anonymised: false,
      continues: false,
      sessionId: this.#options.sessions ? arrival.sessionId : undefined,
      deadlineMs,
      sloMs: this.#options.policy.routing.defaults.max_latency_ms,
      batch: false,
      exclude,
    };
  }

  #delay(node: SimNode): number {
    return lognormal(node.group.network_ms, NETWORK_SPREAD, this.#random.network);
  }
}

function kindsBy(kinds: readonly JobKind[], random: Random): () => JobKind {
  const all = kinds.reduce((sum, kind) => sum + kind.share, 0);
  return () => {
    let rest = random() * all;
    return kinds.find((kind) => (rest -= kind.share) < 0) ?? (kinds.at(-1) as JobKind);
  };
}
