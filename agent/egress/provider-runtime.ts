import type { IncomingMessage } from "node:http";
import { MeshError, ServedModel, type Cost, type DeltaFrame } from "../../bus-schemas/index.ts";
import { commitment } from "../../service/commitment.ts";
import { httpRuntime } from "../runtimes/http-runtime.ts";
import type { LearnedRates } from "../runtimes/learned-rates.ts";
import { isOwnGateway } from "../runtimes/loopback-http.ts";
import type { StreamDone } from "../runtimes/openai-answer.ts";
import type { Runtime, RuntimeJob, RuntimeSent, RuntimeState } from "../runtimes/runtime.ts";
import { passGate } from "./gate.ts";
import { APIS } from "./index.ts";
import { ProviderFailure, connectionFailure, failureOf } from "./provider-failure.ts";
import { ProviderHealth } from "./provider-health.ts";
import { readErrorBody, type ProviderHttp } from "./provider-http.ts";
import type { CloudModel, Provider } from "./provider.ts";

/** How providers are called in errors. */
const WHO = "the provider";
/** The end of a body comes within this time after its last event, milliseconds. */
const END_LIMIT_MS = 1000;

export interface CloudRuntimeParts {
  provider: Provider;
  /** undefined = it cannot be asked, and `problem` says why. */
  key: string | undefined;
  problem: string | undefined;
  http: ProviderHttp;
  rates: LearnedRates;
  /** US dollars per 1,000 tokens by mesh name, for models without a price in the providers file. */
  registryPrices: Readonly<Record<string, number>>;
  /** Milliseconds, any origin. */
  now: () => number;
  /** Uniform in [0,1). */
  random: () => number;
  /** Called when the provider's health may have changed. */
  onChange: () => void;
}

/** A cloud provider as a Runtime with its own circuit breaker; its state costs no request. */
export function cloudRuntime(parts: CloudRuntimeParts): Runtime & { state(): RuntimeState } {
  const { provider, rates, registryPrices, now } = parts;
  const health = new ProviderHealth(now, parts.random, parts.problem);
  const models = new Map(provider.models.map((model) => [model.name, model]));
  let sent = 0;
  const state = () => ({ ...stateOf(provider, health, rates), requestsSent: sent });
  const runtime = httpRuntime({
    name: provider.name,
    kind: provider.kind,
    stream: (job, signal) => call({ ...parts, onSend: () => sent++ }, health, models.get(job.model), job, signal),
    costOf: (model, done) => costOf(models.get(model), done, provider.currency, registryPrices[model]),
    rates,
    inspect: async () => state(),
    now,
    onAnswer: () => undefined,
    served: (model) => state().models.find(({ name }) => name === model),
  });
  return { ...runtime, state };
}

function stateOf(provider: Provider, health: ProviderHealth, rates: LearnedRates): RuntimeState {
  const { healthy, reason, trial } = health.availability;
  const unknown = provider.models.filter(({ name }) => !health.offers(name)).map(({ upstream }) => upstream);
  const note = unknown.length === 0 ? null : `not known to the provider: ${unknown.join(", ")}`;
  return {
    record: {
      name: provider.name,
      kind: provider.kind,
      version: null,
      diagnostic: false,
      healthy,
      status_reason: (reason ?? note)?.slice(0, 200) ?? null,
      slots: trial ? 1 : provider.maxConcurrency,
      // Newer cloud models refuse a begun answer, and none says so before it is asked.
      continues: false,
      running: null,
      queued: null,
      manages: [],
      jurisdiction: provider.jurisdiction,
    },
    models: provider.models
      .filter(({ name }) => health.offers(name))
      .map((model) =>
        rates.fill(
          ServedModel.parse({
            name: model.name,
            runtime: provider.name,
            loaded: true,
            context_length: model.contextLengthTokens,
            capabilities: model.capabilities,
          }),
        ),
      ),
  };
}

/**
 * One call, behind the egress gate and under the circuit breaker.
 * @throws MeshError what the gate says; `runtime_failed`, `rate_limited` or `all_busy` (retryable: another node may do it), `bad_request` or
 * `payload_too_large` (the caller's fault); never quoting what the provider said.
 */
async function* call(
  parts: CloudRuntimeParts & { onSend: () => void },
  health: ProviderHealth,
  model: CloudModel | undefined,
  job: RuntimeJob,
  signal: AbortSignal,
): AsyncIterable<RuntimeSent | DeltaFrame | StreamDone> {
  passGate(job.declared);
  if (job.input !== undefined)
    throw new MeshError("no_node", `${parts.provider.name} is asked for chats only; another node may do it`);
  const { provider, key, http } = parts;
  const { healthy, reason, waitMs } = health.availability;
  if (!healthy || key === undefined)
    throw new MeshError("runtime_failed", `${provider.name}: ${reason ?? "no key"}`, { retryAfterMs: waitMs });
  if (health.trialRuns) throw new MeshError("all_busy", `${provider.name} is being tried with one job`);
  if (model === undefined) throw new MeshError("no_node", `${provider.name} does not serve this model now`);
  const api = APIS[provider.kind];
  const body = Buffer.from(JSON.stringify(api.body(job, model)));
  // Listening of our own, because leaving the loop and silence must close the connection too.
  const closer = new AbortController();
  const close = (): void => closer.abort();
  signal.addEventListener("abort", close, { once: true });
  if (signal.aborted) close();
  let silent = false;
  const silence = setTimeout(() => {
    silent = true;
    close();
  }, provider.timeoutMs);
  const attempt = health.begin(model.name);
  let end = () => attempt.left();
  let release = close;
  try {
    const headers = { ...provider.headers, ...api.headers(key) };
    yield { type: "sent", commitment: commitment(Buffer.from(job.commitmentSalt, "base64url"), body) };
    parts.onSend();
    const response = await http.post({ url: provider.baseUrl + api.path, headers, body }, closer.signal);
    await checkHead(response);
    silence.refresh();
    // Not destroyed with the loop: what follows the last event is read to the end, so that the connection can serve again.
    const answer = response.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
    yield* api.read(answer, job, { who: WHO, onSign: () => silence.refresh() });
    end = () => attempt.succeeded();
    release = () => letEnd(response, close);
  } catch (error) {
    if (signal.aborted) return;
    const failure = silent ? silenceFailure(provider.timeoutMs) : toFailure(error);
    end = () => attempt.failed(failure.blame, failure.message, failure.told.retryAfterMs);
    throw failure.told;
  } finally {
    clearTimeout(silence);
    signal.removeEventListener("abort", close);
    release();
    end();
    parts.onChange();
  }
}

/** After the last event only the end of the body is due; who does not send it loses the connection. */
function letEnd(response: IncomingMessage, close: () => void): void {
  const timer = setTimeout(close, END_LIMIT_MS);
  response.once("close", () => clearTimeout(timer));
  response.resume();
}

/** @throws ProviderFailure when the answer is no event stream. */
async function checkHead(response: IncomingMessage): Promise<void> {
  const status = response.statusCode ?? 0;
  if (isOwnGateway(response)) throw broken("this mesh's own gateway answers where the provider should");
  if (status !== 200) throw failureOf(status, response.headers, await readErrorBody(response), Date.now());
  if (!/^text\/event-stream/i.test(response.headers["content-type"] ?? ""))
    throw broken("the provider did not answer with an event stream");
}

function broken(what: string): ProviderFailure {
  return new ProviderFailure("down", new MeshError("runtime_failed", what));
}

function silenceFailure(timeoutMs: number): ProviderFailure {
  return broken(`the provider sent nothing for ${timeoutMs / 1000} s`);
}

function toFailure(error: unknown): ProviderFailure {
  if (error instanceof ProviderFailure) return error;
  // From reading the stream.
  if (error instanceof MeshError) return new ProviderFailure(error.code === "all_busy" ? "busy" : "down", error);
  return connectionFailure(error);
}

/** By the providers file, else by the policy's registry; undefined where neither has a price. */
function costOf(
  model: CloudModel | undefined,
  { usage, cachedPromptTokens }: StreamDone,
  currency: string,
  registryPrice: number | undefined,
): Cost | undefined {
  const { prompt_tokens: prompt, completion_tokens: completion } = usage;
  const amount = (thousandfold: number) => Number((thousandfold / 1000).toFixed(9));
  if (model?.price !== undefined) {
    const { input, output, cachedInput } = model.price;
    const cached = Math.min(cachedPromptTokens, prompt);
    return { amount: amount((prompt - cached) * input + cached * cachedInput + completion * output), currency };
  }
  return registryPrice === undefined
    ? undefined
    : { amount: amount((prompt + completion) * registryPrice), currency: "USD" };
}
