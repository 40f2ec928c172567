import type { IncomingMessage } from "node:http";
import { MeshError, type DeltaFrame } from "../../bus-schemas/index.ts";
import { isOwnGateway, readBody, sendLoopback, type LoopbackTarget } from "./loopback-http.ts";
import { readOpenAiAnswer, type StreamDone } from "./openai-answer.ts";
import { readWholeAnswer, wholeRequest } from "./openai-whole.ts";
import type { RuntimeJob } from "./runtime.ts";

/** Longest answer of a task that is not streamed: 1,000 vectors of 3,000 numbers as text. What the bus takes is less. */
const MAX_WHOLE_BYTES = 64 * 1024 * 1024;

/** What goes to the server for one job. */
interface Exchange {
  path: string;
  body: Record<string, unknown>;
  streams: boolean;
}

/**
 * Runs a job by `POST /v1/chat/completions` or `/v1/completions`, always streaming, or by `/v1/embeddings` or `/v1/rerank`, whose
 * answer is whole. Ends early and silently when `signal` aborts; aborting, and leaving the loop, closes the connection, which is
 * how these servers learn that nobody wants the rest.
 * @param continuation parameters with which the runtime goes on with a last message of the assistant's
 * @throws MeshError `runtime_failed`, `all_busy` (429, 503), `bad_request` or `payload_too_large`; never quoting what the server said,
 *   because servers quote prompts in their errors.
 */
export async function* streamJob(
  target: LoopbackTarget,
  job: RuntimeJob,
  signal: AbortSignal,
  continuation?: Readonly<Record<string, unknown>>,
): AsyncIterable<DeltaFrame | StreamDone> {
  if (job.continues && continuation === undefined)
    throw new MeshError("runtime_failed", "this runtime cannot go on with an answer that another began");
  const { path, body, streams } = exchangeFor(job, continuation);
  // Listening of our own, because leaving the loop must close the connection too.
  const closer = new AbortController();
  const close = (): void => closer.abort();
  signal.addEventListener("abort", close, { once: true });
  if (signal.aborted) close();
  try {
    const accept = streams ? "text/event-stream" : "application/json";
    const response = await sendLoopback(target, { method: "POST", path, accept, body }, closer.signal);
    checkHead(response);
    if (streams) {
      checkStream(response);
      yield* readOpenAiAnswer(response, job, { who: "the runtime" });
    } else yield readWholeAnswer(await readBody(response, MAX_WHOLE_BYTES), job);
  } catch (error) {
    if (signal.aborted) return;
    throw MeshError.from(error, "runtime_failed", "the runtime closed the connection or does not answer");
  } finally {
    signal.removeEventListener("abort", close);
    close();
  }
}

function exchangeFor(job: RuntimeJob, continuation: Readonly<Record<string, unknown>> | undefined): Exchange {
  const { model, input, parameters, messages, continues } = job;
  const streaming = { model, stream: true, stream_options: { include_usage: true } };
  if (input === undefined)
    return {
      path: "/v1/chat/completions",
      body: { ...parameters, ...(continues ? continuation : {}), messages, ...streaming },
      streams: true,
    };
  if (input.task !== "completion") return { ...wholeRequest(model, input), streams: false };
  const { prompt, suffix } = input;
  return {
    path: "/v1/completions",
    body: { ...parameters, prompt, ...(suffix === undefined ? {} : { suffix }), ...streaming },
    streams: true,
  };
}

function checkStream(response: IncomingMessage): void {
  if (/^text\/event-stream/i.test(response.headers["content-type"] ?? "")) return;
  throw new MeshError("runtime_failed", "the runtime did not answer with an event stream");
}

function checkHead(response: IncomingMessage): void {
  const status = response.statusCode ?? 0;
  if (isOwnGateway(response))
    throw new MeshError("runtime_failed", "this mesh's own gateway answers where the runtime was");
  if (status === 200) return;
  if (status === 429 || status === 503) {
    const seconds = Number(response.headers["retry-after"]);
    const retryAfterMs = seconds > 0 && seconds <= 3600 ? seconds * 1000 : undefined;
    throw new MeshError("all_busy", `the runtime is busy or still loading the model (HTTP ${status})`, {
      retryAfterMs,
    });
  }
  if (status === 413) throw new MeshError("payload_too_large", "the runtime finds the request too large (HTTP 413)");
  if (status === 400 || status === 415 || status === 422) {
    throw new MeshError(
      "bad_request",
      `the runtime does not accept these messages or parameters (HTTP ${status}); is the prompt within its context?`,
    );
  }
  // 401, 404 and the like: the runtime is not what it was at the last inspection. Another node may still do the job.
  throw new MeshError("runtime_failed", `the runtime answered HTTP ${status}`);
}
