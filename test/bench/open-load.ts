import { HEADERS, type JobResult } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import { decode, encode } from "../../service/codec.ts";
import { newId } from "../../service/ids.ts";
import { header, headersFor } from "../../service/messages.ts";

/** A job without an ending after this time counts as lost, milliseconds. */
const ANSWER_LIMIT_MS = 20_000;

export interface Outcome {
  queue: string;
  /** `finished`, or the code of the error. */
  what: string;
  ms: number;
  retryAfterMs: number | undefined;
}

/** Jobs a second by queue. */
export type Arrivals = Readonly<Record<string, number>>;

/** Callers who come whether or not the earlier ones have their answer: what an overload is made of. */
export class OpenLoad {
  readonly #bus: Bus;
  readonly #prefix: string;
  readonly #open = new Map<string, (result: JobResult | undefined) => void>();
  #count = 0;

  constructor(bus: Bus) {
    this.#bus = bus;
    this.#prefix = `${bus.inbox}.open.`;
    bus.listen(`${this.#prefix}*`, (msg) => {
      const result = decode(msg.data, header(msg, HEADERS.contentType)) as JobResult;
      this.#open.get(msg.subject.slice(this.#prefix.length))?.(result);
    });
  }

  /** Lets callers come for `forMs`, at random moments (a Poisson stream), and waits for their endings. */
  async run(arrivals: Arrivals, forMs: number): Promise<Outcome[]> {
    const endings: Promise<Outcome>[] = [];
    await Promise.all(
      Object.entries(arrivals).map(async ([queue, perSecond]) => {
        const startMs = performance.now();
        let nextMs = 0;
        while (nextMs < forMs) {
          const elapsedMs = performance.now() - startMs;
          for (; nextMs <= elapsedMs && nextMs < forMs; nextMs += (-Math.log(1 - Math.random()) * 1000) / perSecond)
            endings.push(this.submit(queue));
          await new Promise((resolve) => setTimeout(resolve, Math.max(1, nextMs - elapsedMs)));
        }
      }),
    );
    return Promise.all(endings);
  }

  /** One caller. */
  submit(queue: string): Promise<Outcome> {
    const token = (this.#count++).toString(36);
    const startMs = performance.now();
    return new Promise((resolve) => {
      const settle = (result: JobResult | undefined) => {
        clearTimeout(timer);
        this.#open.delete(token);
        const what = result === undefined ? "lost" : (result.error?.code ?? result.status);
        resolve({ queue, what, ms: performance.now() - startMs, retryAfterMs: result?.error?.retry_after_ms });
      };
      const timer = setTimeout(() => settle(undefined), ANSWER_LIMIT_MS);
      this.#open.set(token, settle);
      const headers = headersFor("shared");
      headers.set(HEADERS.job, newId());
      const body = encode({ security_level: "P2", prompt: "hello", model: "tiny" }, "shared");
      this.#bus.nc.publish(this.#bus.subjects.submit(queue), body, { headers, reply: this.#prefix + token });
    });
  }
}
