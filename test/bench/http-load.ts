import { Agent, request } from "node:http";
import type { Work } from "./harness.ts";
import { chatJob } from "./samples.ts";

/** Time from the request to the first bytes of its answer, microseconds. */
type FirstChunk = { firstUs: number };

const { model, messages } = chatJob();
const BODY = JSON.stringify({ model, messages, stream: true });
/** A request without its whole answer after this time stops the bench, milliseconds. */
const LIMIT_MS = 15_000;

/** Asks for streamed completions on one port of loopback, on a fixed number of kept connections. */
export class HttpLoad implements Disposable {
  readonly #agent: Agent;
  readonly #port: number;
  readonly #connections: number;

  constructor(port: number, connections: number) {
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections });
    this.#port = port;
    this.#connections = connections;
  }

  /** Latencies are those of first chunks. @throws Error for any answer that is not a whole stream. */
  async run(requests: number): Promise<Work & { latenciesUs: number[] }> {
    const latenciesUs: number[] = [];
    let left = requests;
    const worker = async () => {
      while (left-- > 0) latenciesUs.push((await this.#one()).firstUs);
    };
    await Promise.all(Array.from({ length: this.#connections }, worker));
    return { ops: requests, latenciesUs };
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  #one(): Promise<FirstChunk> {
    return new Promise((resolve, reject) => {
      const start = performance.now();
      const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(BODY) };
      const asked = request(
        {
          host: "127.0.0.1",
          port: this.#port,
          path: "/v1/chat/completions",
          method: "POST",
          agent: this.#agent,
          headers,
          timeout: LIMIT_MS,
        },
        (answer) => {
          let firstUs: number | undefined;
          let tail = "";
          answer.setEncoding("utf8");
          answer.on("data", (text: string) => {
            firstUs ??= (performance.now() - start) * 1000;
            tail = text.slice(-20);
          });
          answer.once("end", () => {
            if (answer.statusCode === 200 && firstUs !== undefined && tail.endsWith("data: [DONE]\n\n"))
              resolve({ firstUs });
            else reject(new Error(`an answer of status ${answer.statusCode} was no whole stream`));
          });
          answer.once("error", reject);
        },
      );
      asked.once("timeout", () => asked.destroy(new Error(`no answer within ${LIMIT_MS} ms`)));
      asked.once("error", reject);
      asked.end(BODY);
    });
  }
}
