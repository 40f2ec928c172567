import { headers as newHeaders } from "@nats-io/nats-core";
import type { JsMsg } from "@nats-io/jetstream";
import { HEADERS, MeshError, type DeadLetter, type DurableRecord, type JobResult } from "../../bus-schemas/index.ts";
import type { Claim } from "../../router/durable/claim.ts";
import { Endings } from "../../router/durable/endings.ts";
import type { Held, JobStore } from "../../router/durable/job-store.ts";
import type { DurableParts } from "../../router/durable/parts.ts";
import { Runner } from "../../router/durable/runner.ts";
import type { RunOrder, RunOutcome, Runs } from "../../router/durable/runs.ts";
import { WaitingLine } from "../../router/durable/waiting-line.ts";
import { routerParts } from "./router-parts.ts";

/** The streams of durable jobs in this process: the same compare-and-set, and a list of what was stored. */
export class FakeStore {
  readonly states = new Map<string, Held>();
  readonly results = new Map<string, JobResult>();
  readonly letters: DeadLetter[] = [];
  readonly queued: number[] = [];
  /** Fails the next calls, so many times. */
  away = 0;
  #seq = 0;

  async read(jobId: string): Promise<Held | undefined> {
    return this.states.get(jobId);
  }

  async write(record: DurableRecord, after: number): Promise<number | undefined> {
    this.#mayFail();
    if ((this.states.get(record.job_id)?.seq ?? 0) !== after) return undefined;
    this.states.set(record.job_id, { record, seq: ++this.#seq });
    return this.#seq;
  }

  async putResult(jobId: string, fence: number, result: JobResult): Promise<void> {
    this.#mayFail();
    this.results.set(`${jobId} ${fence}`, result);
  }

  async putLetter(about: DeadLetter): Promise<void> {
    this.letters.push(about);
  }

  async enqueue({ record }: { record: DurableRecord }): Promise<void> {
    this.queued.push(record.round);
  }

  #mayFail(): void {
    if (this.away > 0 && this.away-- > 0) throw new MeshError("bus_unavailable", "away");
  }
}

const JOB_ID = "job-00000001";

export const RECORD: DurableRecord = {
  job_id: JOB_ID,
  queue: "rag",
  security_level: "P2",
  state: "queued",
  queued_unix_ms: 1_700_000_000_000,
  changed_unix_ms: 1_700_000_000_000,
  deadline_unix_ms: 9_000_000_000_000,
  salt: "salt",
  digest: "digest",
  round: 1,
  attempts: 0,
  failures: 0,
  losses: 0,
  node_id: null,
  model: null,
  decision_id: null,
  holder: null,
  fence: 0,
  error: null,
  ending: null,
};

/** A router's durable part whose store and nodes a test plays. */
export async function durableParts(record: Partial<DurableRecord> = {}) {
  const kit = routerParts();
  const store = new FakeStore();
  const said = { acks: 0 };
  const parts: DurableParts = {
    ...kit.parts,
    store: store as unknown as JobStore,
    gate: { pass: (_id, durable) => durable.then(() => undefined) },
    verdicts: { hear: () => undefined },
  };
  const seq = (await store.write({ ...RECORD, ...record }, 0)) ?? 0;
  const orders: RunOrder[] = [];
  /** What each run comes to, one after the other. */
  const outcomes: (RunOutcome | ((order: RunOrder) => Promise<RunOutcome>))[] = [];
  const runs = {
    run: async (order: RunOrder): Promise<RunOutcome> => {
      orders.push(order);
      const next = outcomes.shift() ?? { type: "gone" };
      return typeof next === "function" ? next(order) : next;
    },
  };
  const headers = newHeaders();
  headers.set(HEADERS.job, JOB_ID);
  headers.set(HEADERS.round, "1");
  const msg = {
    subject: `mesh.main.queue.work.rag.${JOB_ID}`,
    seq: 1,
    data: new TextEncoder().encode('{"prompt":"x"}'),
    headers,
    ack: () => void said.acks++,
  } as unknown as JsMsg;
  const claim: Claim = {
    queue: "rag",
    jobId: JOB_ID,
    msg,
    job: { prompt: "x", model: "llama3.1-8b" },
    held: { record: { ...RECORD, ...record }, seq },
    poison: undefined,
    exclude: new Set(),
    gone: Promise.withResolvers(),
  };
  const line = new WaitingLine(parts);
  const runner = new Runner(parts, line, runs as unknown as Runs, new Endings(parts), "_INBOX.me.holds");
  const state = () => store.states.get(JOB_ID);
  const run = () => runner.run(claim, new AbortController().signal);
  return { ...kit, parts, store, claim, line, runner, orders, outcomes, said, state, run };
}
