import type { FastifyReply, FastifyRequest } from "fastify";
import { MeshError, type JobResult } from "../../bus-schemas/index.ts";
import { meshHeaders } from "../mesh-headers.ts";
import { errorBody } from "../openai/errors.ts";
import { readChatRequest, type ChatCall } from "../openai/request.ts";
import { ChunkWriter, chatCompletion } from "../openai/response.ts";
import type { GatewayParts } from "../parts.ts";
import { SseStream } from "../sse-stream.ts";
import type { RouteFactory } from "./route-def.ts";

/** OpenAI's `POST /v1/chat/completions`, streamed or not. */
export const chatCompletionsRoute: RouteFactory = (parts) => ({
  method: "POST",
  path: "/v1/chat/completions",
  handle: (request, reply) => {
    const call = readChatRequest(request.body, request.headers);
    const signal = parts.exchanges.open(reply.raw);
    return call.stream ? streamed(parts, call, request, reply, signal) : whole(parts, call, reply, signal);
  },
});

async function whole(
  { mesh, nowMs }: GatewayParts,
  call: ChatCall,
  reply: FastifyReply,
  signal: AbortSignal,
): Promise<FastifyReply> {
  const result = await mesh.submit(call.job, { ...call.options, signal });
  reply.headers(meshHeaders(result));
  if (result.status !== "finished") throw endingError(result, signal);
  return reply
    .header("content-type", "application/json; charset=utf-8")
    .send(JSON.stringify(chatCompletion(result, Math.floor(nowMs() / 1000))));
}

/**
 * Until the first piece of the answer a failure has an HTTP status of its own, which SDKs retry by; afterwards it is one
 * error event, and the stream ends without `[DONE]`.
 */
async function streamed(
  parts: GatewayParts,
  call: ChatCall,
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
  let writer: ChunkWriter | undefined;
  let roleSent = false;
  try {
    for await (const frame of mesh.stream(call.job, { ...call.options, signal })) {
      if (frame.type === "accepted") {
        reply.headers(meshHeaders(frame));
        writer = new ChunkWriter(frame, Math.floor(nowMs() / 1000), call.includeUsage);
      } else if (frame.type === "delta" && writer !== undefined) {
        if (!roleSent) {
          roleSent = true;
          counters.firstChunk.observe((performance.now() - request.startedAtMs) / 1000);
          out.send(writer.role());
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
        out.end((roleSent ? "" : writer.role()) + writer.finish(frame));
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

/** Why a job did not finish; when it was cancelled from here, the reason is ours. */
function endingError(result: JobResult, signal: AbortSignal): MeshError {
  if (signal.aborted) return MeshError.from(signal.reason);
  if (result.error === null) return new MeshError("internal", `the job ended as ${result.status} without a reason`);
  return MeshError.fromWire(result.error);
}
