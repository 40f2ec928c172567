import { NodeRecord, type DataClass, type Load, type MeshError, type ServedModel } from "../../bus-schemas/index.ts";
import { refuse, totalLoad, type Seats } from "../../agent/model/admission.ts";
import { movingAverage } from "../../agent/model/moving-average.ts";
import { LearnedRates } from "../../agent/runtimes/learned-rates.ts";
import type { AnswerLengths } from "./answer-lengths.ts";
import { BLOCK_TOKENS, type Arrival } from "./arrivals.ts";
import type { EventQueue } from "./event-queue.ts";
import type { ModelRates, NodeGroup } from "./fleet-file.ts";
import { PrefixCache } from "./prefix-cache.ts";
import { lognormal, type Random } from "./random.ts";

const RUNTIME = "simulated";
/** Spread of reading and writing times from one job to the next: standard deviation of the logarithm. */
const NOISE = { prefill: 0.05, decode: 0.1 };

/** A job as a node sees it. */
export interface Ask {
  jobId: string;
  arrival: Arrival;
  dataClass: DataClass;
  model: string;
  deadlineMs: number;
}

/** How a job went on its node. Absolute times; `firstAtMs` is null when there was no token. */
export interface Ended {
  status: "finished" | "expired";
  acceptedAtMs: number;
  startedAtMs: number;
  firstAtMs: number | null;
  endedAtMs: number;
  cachedTokens: number;
}

interface Run extends Ask {
  onEnded: (ended: Ended) => void;
  acceptedAtMs: number;
  /** Factors on the times of this job. */
  noise: { prefill: number; decode: number };
  startedAtMs: number;
  firstAtMs: number;
  cachedTokens: number;
}

/**
 * One node: production admission in front of slots with a waiting line, first come first served. Prompts are read one after
 * another, since they share the GPU's arithmetic; answers are written side by side at the group's rate for full slots.
 */
export class SimNode {
  readonly id: string;
  readonly group: NodeGroup;
  readonly cache: PrefixCache;
  /** Slot time used, milliseconds. */
  busyMs = 0;
  /** Most jobs ever running at once. */
  mostRunning = 0;
  /** Most seats ever taken, running and waiting. */
  mostTaken = 0;
  readonly #events: EventQueue;
  readonly #random: Random;
  readonly #running = new Set<Run>();
  readonly #queue: Run[] = [];
  readonly #learned = new LearnedRates();
  readonly #record: NodeRecord;
  readonly #models: ServedModel[];
  /** When the last prompt that was begun is read. */
  #prefillFreeAtMs = 0;
  #averageMs: number | null = null;
  #seq = 0;

  constructor(id: string, group: NodeGroup, heartbeatMs: number, events: EventQueue, random: Random) {
    this.id = id;
    this.group = group;
    this.cache = new PrefixCache(Math.floor(group.prefix_cache_tokens / BLOCK_TOKENS));
    this.#events = events;
    this.#random = random;
    this.#models = group.models.map(({ name }) => ({
      name,
      runtime: RUNTIME,
      loaded: true,
      context_length: null,
      capabilities: [],
      size_gb: null,
      prefill_tokens_per_second: null,
      ms_per_token: null,
      load_gb_per_second: null,
      vram_gb: null,
      digest: null,
    }));
    this.#record = NodeRecord.parse({
      node_id: id,
      layer: group.layer,
      status: "healthy",
      boot_id: id,
      interval_ms: heartbeatMs,
      hardware: {},
      models: group.models.map((model) => model.name),
      runtimes: [{ name: RUNTIME, kind: RUNTIME, slots: group.slots }],
      cost_factor: group.cost_factor,
      last_heartbeat: "2027-01-15T08:00:00Z",
    });
  }

  /** Takes a job or says why not, as the agent does. */
  take(ask: Ask, onEnded: (ended: Ended) => void): MeshError | undefined {
    const { dataClass, deadlineMs, model } = ask;
    const classes = { subjectClass: dataClass, headerClass: dataClass, bodyClass: dataClass };
    const seats = this.group.models.some(({ name }) => name === model) ? this.#seats : undefined;
    const stance = { layer: this.group.layer, closedBecause: undefined };
    const no = refuse({ ...classes, deadlineMs }, stance, seats, model, this.#events.nowMs);
    if (no !== undefined) return no;
    const run: Run = {
      ...ask,
      onEnded,
      acceptedAtMs: this.#events.nowMs,
      noise: { prefill: lognormal(1, NOISE.prefill, this.#random), decode: lognormal(1, NOISE.decode, this.#random) },
      startedAtMs: Infinity,
      firstAtMs: Infinity,
      cachedTokens: 0,
    };
    this.#queue.push(run);
    this.#fill();
    if (run.startedAtMs === Infinity) this.#events.at(deadlineMs, () => this.#expireQueued(run));
    this.mostTaken = Math.max(this.mostTaken, this.#running.size + this.#queue.length);
    return undefined;
  }

  /** What it says of its work now. */
  load(): Load {
    let pendingPrefillTokens = 0;
    for (const run of this.#running)
      if (run.firstAtMs > this.#events.nowMs) pendingPrefillTokens += run.arrival.promptTokens;
    for (const run of this.#queue) pendingPrefillTokens += run.arrival.promptTokens;
    return totalLoad([this.#seats], pendingPrefillTokens);
  }

  /** Its next heartbeat. */
  heartbeat(): NodeRecord {
    return {
      ...this.#record,
      seq: this.#seq++,
      load: this.load(),
      served_models: this.#models.map((model) => this.#learned.fill(model)),
      performance: { avg_latency_ms: this.#averageMs, tokens_per_second: null, uptime_hours: null },
    };
  }

  /**
   * When a job that came now would probably have its first and its last token, by all that can be known at this moment:
   * the node's true rates and cache, what waits there, how far each answer is. Nobody knows how long an answer will be.
   * @param lengths of answers in this load
   * @returns undefined when it would be refused
   */
  foresee(
    arrival: Arrival,
    model: string,
    lengths: AnswerLengths,
  ): { firstAtMs: number; endsAtMs: number } | undefined {
    const { slots, running, queued } = this.#seats;
    const classes = { subjectClass: "P2", headerClass: "P2", bodyClass: "P2" } as const;
    const stance = { layer: this.group.layer, closedBecause: undefined };
    const seats = { slots, running, queued };
    if (refuse({ ...classes, deadlineMs: Infinity }, stance, seats, model, 0) !== undefined) return undefined;
    const { nowMs } = this.#events;
    const ends = [...this.#running].map((run) => {
      const msPerToken = this.#rates(run.model).ms_per_token;
      const written = Math.max(0, nowMs - run.firstAtMs) / msPerToken;
      return Math.max(nowMs, run.firstAtMs) + lengths.moreAfter(written) * msPerToken;
    });
    let prefillFreeAtMs = this.#prefillFreeAtMs;
    const place = (run: Pick<Run, "arrival" | "model">) => {
      const startMs = ends.length < slots ? nowMs : takeLeast(ends);
      const { prefillMs } = this.#reading(run);
      const firstAtMs = Math.max(startMs, prefillFreeAtMs) + prefillMs;
      prefillFreeAtMs = firstAtMs;
      const endsAtMs = firstAtMs + lengths.moreAfter(0) * this.#rates(run.model).ms_per_token;
      ends.push(endsAtMs);
      return { firstAtMs, endsAtMs };
    };
    for (const run of this.#queue) place(run);
    return place({ arrival, model });
  }

  get #seats(): Seats {
    return { slots: this.group.slots, running: this.#running.size, queued: this.#queue.length };
  }

  #rates(model: string): ModelRates {
    const rates = this.group.models.find(({ name }) => name === model);
    if (rates === undefined) throw new Error(`${this.id} does not serve ${model}`);
    return rates;
  }

  /** What reading a prompt takes now, without the noise of the job. */
  #reading({ arrival, model }: Pick<Run, "arrival" | "model">) {
    // At least one token must be read: the answer's first one comes from it.
    const cachedTokens = Math.min(this.cache.hits(arrival.blocks) * BLOCK_TOKENS, arrival.promptTokens - 1);
    const readTokens = arrival.promptTokens - cachedTokens;
    return { cachedTokens, prefillMs: (readTokens * 1000) / this.#rates(model).prefill_tokens_per_second };
  }

  #fill(): void {
    while (this.#running.size < this.group.slots) {
      const run = this.#queue.shift();
      if (run === undefined) return;
      const { cachedTokens, prefillMs } = this.#reading(run);
      this.#running.add(run);
      this.mostRunning = Math.max(this.mostRunning, this.#running.size);
      this.cache.use(run.arrival.blocks);
      run.cachedTokens = cachedTokens;
      run.startedAtMs = this.#events.nowMs;
      run.firstAtMs = Math.max(this.#events.nowMs, this.#prefillFreeAtMs) + prefillMs * run.noise.prefill;
      this.#prefillFreeAtMs = run.firstAtMs;
      const decodeMs = run.arrival.outputTokens * this.#rates(run.model).ms_per_token * run.noise.decode;
      const endsAtMs = run.firstAtMs + decodeMs;
      const status = endsAtMs <= run.deadlineMs ? "finished" : "expired";
      this.#events.at(Math.min(endsAtMs, run.deadlineMs), () => this.#end(run, status));
    }
  }

  #expireQueued(run: Run): void {
    const waiting = this.#queue.indexOf(run);
    if (waiting < 0) return;
    this.#queue.splice(waiting, 1);
    run.startedAtMs = this.#events.nowMs;
    this.#end(run, "expired");
  }

  #end(run: Run, status: Ended["status"]): void {
    const { nowMs } = this.#events;
    const { acceptedAtMs, startedAtMs, cachedTokens, arrival } = run;
    const firstAtMs = run.firstAtMs <= nowMs ? run.firstAtMs : null;
    if (this.#running.delete(run)) this.busyMs += nowMs - startedAtMs;
    if (status === "finished") {
      this.#averageMs = movingAverage(this.#averageMs, nowMs - acceptedAtMs);
      this.#learned.observe(RUNTIME, run.model, {
        promptTokens: arrival.promptTokens - cachedTokens,
        completionTokens: arrival.outputTokens,
        ttftMs: run.firstAtMs - startedAtMs,
        generationMs: nowMs - run.firstAtMs,
      });
    }
    this.#fill();
    run.onEnded({ status, acceptedAtMs, startedAtMs, firstAtMs, endedAtMs: nowMs, cachedTokens });
  }
}

/** Takes the least number out. */
function takeLeast(numbers: number[]): number {
  let at = 0;
  numbers.forEach((number, i) => {
    if (number < (numbers[at] ?? Infinity)) at = i;
  });
  const last = numbers.pop() ?? 0;
  if (at === numbers.length) return last;
  const least = numbers[at] ?? 0;
  numbers[at] = last;
  return least;
}
