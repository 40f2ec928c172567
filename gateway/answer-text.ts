import { randomBytes } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import { MeshError, type JobResult, type StreamFrame } from "../bus-schemas/index.ts";
import { SALT_BYTES } from "../service/commitment.ts";
import type { Call } from "./call.ts";
import { SALT_HEADER, meshHeaders } from "./mesh-headers.ts";
import { errorBody } from "./openai/errors.ts";
import type { TextCall } from "./openai/request.ts";
import type { EventWriter } from "./openai/response.ts";
import type { GatewayParts } from "./parts.ts";
import { SseStream } from "./sse-stream.ts";

/** A call whose answer is text, and how that answer is written. */
export interface TextAnswer {
  call: TextCall;
  whole: (result: JobResult, createdS: number) => object;
  write: (accepted: Extract<StreamFrame, { type: "accepted" }>, createdS: number, includeUsage: boolean) => EventWriter;
}

/** Runs a job and answers with its text, streamed or not, as the call wants it. */
export function answerText(
  parts: GatewayParts,
  answer: TextAnswer,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const signal = parts.exchanges.open(reply.raw);
  const { call, whole } = answer;
  if (call.stream) return streamed(parts, answer, request, reply, signal);
  return answerWhole(parts, call, reply, signal, (result) => whole(result, Math.floor(parts.nowMs() / 1000)));
}

/** Runs a job to its end and answers with one body. @throws MeshError why it did not finish */
export async function answerWhole(
  { mesh }: GatewayParts,
  call: Call,
  reply: FastifyReply,
  signal: AbortSignal,
  body: (result: JobResult) => object,
): Promise<FastifyReply> {
  const result = await mesh.submit(salted(call, reply), { ...call.options, signal });
  reply.headers(meshHeaders(result));
  if (result.status !== "finished") throw endingError(result, signal);
  return reply.header("content-type", "application/json; charset=utf-8").send(JSON.stringify(body(result)));
}

/**
 * Until the first piece of the answer a failure has an HTTP status of its own, which SDKs retry by; afterwards it is one
 * error event, and the stream ends without `[DONE]`.
 */
async function streamed(
  parts: GatewayParts,
  { call, write }: TextAnswer,
  request: FastifyRequest,
  reply: FastifyReply,
  signal: AbortSignal,
): Promise<FastifyReply> {
  const { mesh, limits, counters, nowMs } = parts;
  const out = new SseStream(reply.raw, {
    headers: () => {
      reply.hijack();
      return reply.getHeaders() as Record<string, string>;
    },
    keepAliveMs: limits.sseKeepAliveMs,
    stallMs: limits.sseStallMs,
  });
  let writer: EventWriter | undefined;
  let begun = false;
  try {
    for await (const frame of mesh.stream(salted(call, reply), { ...call.options, signal })) {
      if (frame.type === "accepted") {
        reply.headers(meshHeaders(frame));
        writer = write(frame, Math.floor(nowMs() / 1000), call.includeUsage);
      } else if (frame.type === "delta" && writer !== undefined) {
        if (!begun) {
          begun = true;
          counters.firstChunk.observe((performance.now() - request.startedAtMs) / 1000);
          out.send(writer.begin());
        }
        out.send(writer.delta(frame));
        if (out.congested && (await out.drained()) === "stalled") {
          counters.stalled.inc();
          // Leaving the loop cancels the job; the reader sees its connection closed.
          reply.raw.destroy();
          return reply;
        }
      } else if (frame.type === "end") {
        if (!out.begun) reply.headers(meshHeaders(frame));
        if (frame.status !== "finished" || writer === undefined) throw endingError(frame, signal);
        out.end((begun ? "" : writer.begin()) + writer.finish(frame));
        return reply;
      }
    }
    throw new MeshError("stream_interrupted", "the answer stopped without an end");
  } catch (error) {
    if (!out.begun) throw error;
    const shown = MeshError.from(error);
    if (shown.code === "internal") parts.log.error({ err: error }, "a stream failed");
    out.end(`data: ${JSON.stringify(errorBody(shown))}\n\n`);
    return reply;
  } finally {
    out.close();
  }
}

/**
 * Of a call that names nobody whose salt the gateway keeps: a salt of its own, told in a header at the answer's beginning, because a
 * stream in OpenAI's shape has no place for it at its end. The gateway forgets it.
 */
function salted({ job }: Call, reply: FastifyReply): Call["job"] {
  if (job.caller !== undefined || job.commitment_salt !== undefined) return job;
  const salt = randomBytes(SALT_BYTES).toString("base64url");
  void reply.header(SALT_HEADER, salt);
  return { ...job, commitment_salt: salt };
}

/** Why a job did not finish; when it was cancelled from here, the reason is ours. */
function endingError(result: JobResult, signal: AbortSignal): MeshError {
  if (signal.aborted) return MeshError.from(signal.reason);
  if (result.error === null) return new MeshError("internal", `the job ended as ${result.status} without a reason`);
  return MeshError.fromWire(result.error);
}
