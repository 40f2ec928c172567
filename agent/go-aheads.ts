import { GoAhead, lastToken } from "../bus-schemas/index.ts";
import type { Msg } from "@nats-io/nats-core";
import type { Bus } from "../service/bus.ts";
import { readBody } from "../service/messages.ts";
import type { Job } from "./job.ts";

/** A router that has not answered is asked again after this time, milliseconds. */
const ASK_AGAIN_MS = 500;
/** So long a go-ahead is good for an ending, milliseconds: less than any router takes to give a node up by its silence. */
const GOOD_FOR_MS = 1000;
/** A job whose router never answers is dropped so long after its deadline, milliseconds; the router has ended it by then. */
const OVERDUE_MS = 5000;

interface Asked {
  job: Job;
  /** Tells its router once more that it was accepted here. */
  say: (reply: string) => void;
  overdueAtMs: number;
  /** When its router last said that it is ours; undefined = never yet. */
  goAtMs: number | undefined;
  /** Of the question that is open: an answer to an earlier one may lie unread in the socket of a process that stood still. */
  question: number;
  timer: NodeJS.Timeout | undefined;
}

/**
 * Keeps a job from being answered by two nodes (ADR 0020). A node may be late, for its machine or its network stood still, and
 * its router may have asked the next one meanwhile. So a job that was accepted runs at once, but none of it is told or recorded
 * before its router has said that it is still this node's; and again when the node was away, and before an ending that comes
 * long after.
 */
export class GoAheads {
  readonly #bus: Bus;
  readonly #replies: string;
  readonly #asked = new Map<string, Asked>();
  readonly #keys = new Map<Job, string>();
  #count = 0;

  constructor(bus: Bus) {
    this.#bus = bus;
    this.#replies = `${bus.inbox}.go`;
  }

  start(): void {
    this.#bus.listen(`${this.#replies}.*`, (msg) => this.#onAnswer(msg));
  }

  /**
   * Asks for the first time, or when the job has its first word (`JobFacts.goAhead`).
   * @param job held
   * @param say tells its router that the job was accepted; the answer goes to the subject that it is given
   */
  add(job: Job, say: (reply: string) => void): void {
    const key = (this.#count++).toString(36);
    // From now on by the steady clock: one that is set meanwhile makes no job overdue.
    const overdueAtMs = performance.now() + job.facts.deadlineMs - Date.now() + OVERDUE_MS;
    const asked: Asked = { job, say, overdueAtMs, goAtMs: undefined, question: 0, timer: undefined };
    this.#asked.set(key, asked);
    this.#keys.set(job, key);
    if (job.facts.goAhead === "at once") this.#ask(key, asked);
  }

  /** The job has ended. */
  remove(job: Job): void {
    const key = this.#keys.get(job) ?? "";
    clearInterval(this.#asked.get(key)?.timer);
    this.#asked.delete(key);
    this.#keys.delete(job);
  }

  /** Asks anew for all jobs: this node was away, and some may run elsewhere by now. What is answered to earlier questions is too old. */
  askAll(): void {
    for (const [key, asked] of this.#asked) {
      // Its first word is yet to come.
      if (asked.goAtMs === undefined && asked.timer === undefined) continue;
      clearInterval(asked.timer);
      asked.question++;
      asked.job.hold();
      this.#ask(key, asked);
    }
  }

  /**
   * The job is about to say something. While the bus is away nobody would hear it, so it waits; and an ending waits for a
   * new answer if the last one is too old to rely on.
   */
  beforeWord(job: Job, last: boolean): void {
    const key = this.#keys.get(job) ?? "";
    const asked = this.#asked.get(key);
    if (asked === undefined) return;
    const first = asked.goAtMs === undefined;
    const old = last && performance.now() - (asked.goAtMs ?? -Infinity) > GOOD_FOR_MS;
    if (first || old || !this.#bus.connected()) this.#askAgain(key, asked);
  }

  #askAgain(key: string, asked: Asked): void {
    if (asked.timer !== undefined) return;
    asked.job.hold();
    this.#ask(key, asked);
  }

  #ask(key: string, asked: Asked): void {
    const say = () => asked.say(`${this.#replies}.${key}-${asked.question}`);
    asked.timer = setInterval(() => {
      if (performance.now() > asked.overdueAtMs) asked.job.cancel(true);
      else say();
    }, ASK_AGAIN_MS);
    say();
  }

  #onAnswer(msg: Msg): void {
    const [key = "", question] = lastToken(msg.subject).split("-");
    const asked = this.#asked.get(key);
    if (asked?.timer === undefined || String(asked.question) !== question) return;
    const { job } = asked;
    const nobody = msg.headers?.code === 503 && msg.data.length === 0;
    // A router that is gone asks nobody else any more. Whether it had, before it heard that we accepted, nobody knows.
    const go = nobody ? asked.goAtMs !== undefined : readBody(msg, GoAhead).go;
    if (!go) return job.cancel(true);
    clearInterval(asked.timer);
    asked.timer = undefined;
    asked.goAtMs = performance.now();
    job.goOn();
  }
}
