import {
  BodyTooLarge,
  isOwnGateway,
  readBody,
  sendLoopback,
  serverOf,
  type LoopbackRequest,
  type LoopbackTarget,
} from "./loopback-http.ts";
import { asCount, asObject, asObjects } from "./openai-chunk.ts";

const TIMEOUT_MS = 500;
const MAX_BODY_BYTES = 1024 * 1024;

/** What a server said to one question. `json` is undefined when the body is none. */
export interface Answer {
  status: number;
  /** The `Server` header, lower case. */
  server: string;
  json: unknown;
  text: string;
}

/** Why a server could not be asked. `refused`: nothing listens there. `own_gateway`: it is this mesh itself. */
export type ProbeFailure = "refused" | "timeout" | "too_large" | "unauthorized" | "broken" | "own_gateway" | "aborted";

export class ProbeFailed extends Error {
  override readonly name = "ProbeFailed";
  readonly failure: ProbeFailure;

  constructor(failure: ProbeFailure) {
    super(`probe: ${failure}`);
    this.failure = failure;
  }
}

/**
 * Asks one server on this machine, within 500 ms and 1 MiB per question, following no redirect. One Probe serves one inspection:
 * the same GET is sent once, however many kinds ask. `memory` outlives the inspection, for facts that cannot change.
 */
export class Probe {
  readonly target: LoopbackTarget;
  readonly memory: Map<string, unknown>;
  readonly #answers = new Map<string, Promise<Answer>>();

  constructor(target: LoopbackTarget, memory: Map<string, unknown>) {
    this.target = target;
    this.memory = memory;
  }

  /** @throws ProbeFailed */
  get(path: string, signal: AbortSignal): Promise<Answer> {
    const known = this.#answers.get(path);
    if (known !== undefined) return known;
    const answer = this.#ask({ method: "GET", path }, signal);
    this.#answers.set(path, answer);
    return answer;
  }

  /** @throws ProbeFailed */
  post(path: string, body: unknown, signal: AbortSignal): Promise<Answer> {
    return this.#ask({ method: "POST", path, body }, signal);
  }

  /** The object of a 200 answer; undefined for any other answer. @throws ProbeFailed, also when a token is asked for. */
  async object(path: string, signal: AbortSignal): Promise<Record<string, unknown> | undefined> {
    const answer = await this.get(path, signal);
    if (answer.status === 401 || answer.status === 403) throw new ProbeFailed("unauthorized");
    return answer.status === 200 ? asObject(answer.json) : undefined;
  }

  /** OpenAI's list of models, undefined where there is none. @throws ProbeFailed `own_gateway` where a model is the mesh's. */
  async openAiModels(signal: AbortSignal): Promise<Record<string, unknown>[] | undefined> {
    const list = await this.object("/v1/models", signal);
    if (list === undefined || !Array.isArray(list["data"])) return undefined;
    const models = asObjects(list["data"]);
    if (models.some((model) => model["owned_by"] === "tiermesh")) throw new ProbeFailed("own_gateway");
    return models;
  }

  /**
   * A fact that is good to have: undefined when the server does not answer 200, or takes too long, or says too much. What it
   * is known by must not hang on it.
   * @throws ProbeFailed when the inspection was aborted, or the mesh's own gateway answers
   */
  async extra(path: string, signal: AbortSignal): Promise<Answer | undefined> {
    try {
      const answer = await this.get(path, signal);
      return answer.status === 200 ? answer : undefined;
    } catch (error) {
      if (error instanceof ProbeFailed && error.failure !== "aborted" && error.failure !== "own_gateway")
        return undefined;
      throw error;
    }
  }

  /** Gauges by name from /metrics in Prometheus' text format; empty where it is switched off. @throws ProbeFailed as `extra` */
  async gauges(signal: AbortSignal): Promise<Gauges> {
    return new Gauges((await this.extra("/metrics", signal))?.text ?? "");
  }

  async #ask(request: LoopbackRequest, signal: AbortSignal): Promise<Answer> {
    const timeout = AbortSignal.timeout(TIMEOUT_MS);
    try {
      const response = await sendLoopback(this.target, request, AbortSignal.any([signal, timeout]));
      if (isOwnGateway(response)) {
        response.destroy();
        throw new ProbeFailed("own_gateway");
      }
      const text = await readBody(response, MAX_BODY_BYTES);
      return { status: response.statusCode ?? 0, server: serverOf(response), json: parseJson(text), text };
    } catch (error) {
      if (error instanceof ProbeFailed) throw error;
      if (error instanceof BodyTooLarge) throw new ProbeFailed("too_large");
      if (signal.aborted) throw new ProbeFailed("aborted");
      if (timeout.aborted) throw new ProbeFailed("timeout");
      throw new ProbeFailed(isRefusal(error) ? "refused" : "broken");
    }
  }
}

/** What a server tells in Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/). */
export class Gauges {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The sum over all label sets of one name, as a count; undefined when it is not there or is no count. */
  count(name: string): number | undefined {
    let sum: number | undefined;
    for (const line of this.#text.split("\n")) {
      if (!line.startsWith(name)) continue;
      const rest = line.slice(name.length);
      const value = /^(?:\{.*\})?\s+([0-9.eE+-]+)(?:\s+\d+)?\s*$/.exec(rest)?.[1];
      if (value !== undefined) sum = (sum ?? 0) + Number(value);
    }
    return asCount(sum);
  }
}

/** Nothing listens there, or this machine has no such address (IPv6 switched off). */
function isRefusal(error: unknown): boolean {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return code === "ECONNREFUSED" || code === "EADDRNOTAVAIL" || code === "ENETUNREACH" || code === "EAFNOSUPPORT";
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
