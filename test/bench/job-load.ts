import type { Msg } from "@nats-io/nats-core";
import { HEADERS, type DataClass } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import { decode, encode } from "../../service/codec.ts";
import { newId } from "../../service/ids.ts";
import { header, headersFor } from "../../service/messages.ts";
import type { Work } from "./harness.ts";
import { chatJob } from "./samples.ts";

/** A job without an answer after this time stops the bench, milliseconds. */
const ANSWER_LIMIT_MS = 15_000;

/** Submits jobs as MeshClient does, one inbox subscription for all, and counts their ends. */
export class JobLoad {
  readonly #bus: Bus;
  readonly #waiting = new Map<string, (msg: Msg) => void>();
  readonly #prefix: string;
  #count = 0;

  constructor(bus: Bus) {
    this.#bus = bus;
    this.#prefix = `${bus.inbox}.`;
    bus.listen(`${this.#prefix}*`, (msg) => this.#waiting.get(msg.subject.slice(this.#prefix.length))?.(msg));
  }

  /** Runs `jobs` jobs on `subject`, `window` of them at a time. @throws Error when one is not finished in time. */
  async run(
    subject: string,
    jobs: number,
    window: number,
    dataClass: DataClass,
  ): Promise<Work & { latenciesUs: number[] }> {
    const latenciesUs: number[] = [];
    let left = jobs;
    const worker = async () => {
      while (left-- > 0) {
        const start = performance.now();
        await this.#one(subject, dataClass);
        latenciesUs.push((performance.now() - start) * 1000);
      }
    };
    await Promise.all(Array.from({ length: window }, worker));
    return { ops: jobs, latenciesUs };
  }

  async #one(subject: string, dataClass: DataClass): Promise<void> {
    const jobId = newId();
    const token = (this.#count++).toString(36);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => reject(new Error(`no answer on ${subject}`)), ANSWER_LIMIT_MS);
    this.#waiting.set(token, (msg) => {
      // What no node answered is the bench's own echo.
      if (msg.headers === undefined) return resolve();
      const { status, error } = decode(msg.data, header(msg, HEADERS.contentType)) as {
        status?: string;
        error?: unknown;
      };
      if (status === "finished") resolve();
      else reject(new Error(`a job ended as ${status}: ${JSON.stringify(error)}`));
    });
    const headers = headersFor("shared");
    headers.set(HEADERS.job, jobId);
    const body = encode(chatJob({ job_id: jobId, security_level: dataClass }), "shared");
    this.#bus.nc.publish(subject, body, { headers, reply: this.#prefix + token });
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(token);
    }
  }
}
