import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { ERROR_CODES, MeshError } from "../../bus-schemas/index.ts";
import type { Log } from "../../service/log.ts";
import { plainHttp } from "../../service/plain-http.ts";
import { answerChat } from "./chat-answer.ts";
import { parseChatRequest } from "./chat-request.ts";
import { ContextOverflowError, type Generator } from "./generator.ts";
import { AllBusyError, SlotGate } from "./slot-gate.ts";

export interface EmbeddedServerOptions {
  generator: Generator;
  log: Log;
  /** Bearer token; without one anybody on this machine may ask. */
  token?: string;
  /** Requests that may wait for a slot. */
  maxWaiting?: number;
  /** How long one may wait, milliseconds. */
  maxWaitMs?: number;
  /** Largest request body, bytes. */
  maxBodyBytes?: number;
  nowMs?: () => number;
}

const DEFAULTS = { maxWaiting: 8, maxWaitMs: 30_000, maxBodyBytes: 4 * 1024 * 1024 };

/**
 * The OpenAI-compatible face of a generator: `GET /health`, `GET /v1/models`, `POST /v1/chat/completions`.
 * The caller listens (on 127.0.0.1) and closes it.
 */
export function createEmbeddedServer(options: EmbeddedServerOptions): Server {
  const { generator, log } = options;
  const gate = new SlotGate({
    slots: generator.parallelSlots,
    maxWaiting: options.maxWaiting ?? DEFAULTS.maxWaiting,
    maxWaitMs: options.maxWaitMs ?? DEFAULTS.maxWaitMs,
  });
  const nowMs = options.nowMs ?? Date.now;
  const createdS = Math.floor(nowMs() / 1000);
  const maxBodyBytes = options.maxBodyBytes ?? DEFAULTS.maxBodyBytes;

  const routes: Record<string, (request: IncomingMessage, response: ServerResponse) => void | Promise<void>> = {
    "GET /health": (_, response) =>
      sendJson(response, 200, {
        status: "ok",
        slots: generator.parallelSlots,
        slots_busy: gate.busy,
        waiting: gate.waiting,
      }),
    "GET /v1/models": (_, response) => sendJson(response, 200, modelList(generator, createdS)),
    "POST /v1/chat/completions": async (request, response) => {
      const chat = parseChatRequest(parseJson(await readBody(request, maxBodyBytes)));
      if (chat.model !== undefined && chat.model !== generator.model) {
        throw new MeshError("model_not_found", `model: this server has only ${generator.model}`, { field: "model" });
      }
      // `close` without a finished answer means that the caller is gone: stop computing.
      const gone = new AbortController();
      response.on("close", () => gone.abort(new MeshError("cancelled", "the caller closed the connection")));
      const leave = await gate.enter(gone.signal);
      try {
        await answerChat({ chat, generator, response, createdS: Math.floor(nowMs() / 1000) }, gone.signal);
      } finally {
        leave();
      }
    },
  };

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    const route = routes[`${request.method ?? ""} ${path}`];
    // Anyone on the machine may ask whether it lives; that tells nothing.
    if (path !== "/health" && !authorized(request, options.token)) {
      throw new MeshError("unauthorized", "send the token of TIERMESH_RUNTIME_TOKEN as `Authorization: Bearer …`");
    }
    if (route === undefined) throw new MeshError("not_found", "try /health, /v1/models or POST /v1/chat/completions");
    await route(request, response);
  };

  return plainHttp.createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      if (response.destroyed) return;
      const known = toMeshError(error);
      if (known.code === "internal") log.error({ err: error }, "a request failed");
      if (response.headersSent) response.end(`data: ${JSON.stringify(errorBody(known))}\n\n`);
      else sendError(response, known);
    });
  });
}

/** As OpenAI's list, with what llama.cpp's server calls `meta`. */
function modelList(generator: Generator, createdS: number): object {
  const meta = { context_length: generator.contextTokens, parallel_slots: generator.parallelSlots };
  return {
    object: "list",
    data: [{ id: generator.model, object: "model", created: createdS, owned_by: "tiermesh-embedded", meta }],
  };
}

function authorized(request: IncomingMessage, token: string | undefined): boolean {
  if (token === undefined) return true;
  // Hashed first: timingSafeEqual wants equal lengths.
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(request.headers.authorization ?? ""), digest(`Bearer ${token}`));
}

async function readBody(request: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) throw new MeshError("payload_too_large", `the body is larger than ${String(maxBytes)} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own message quotes the text.
    throw new MeshError("bad_request", "the body is not JSON");
  }
}

function toMeshError(error: unknown): MeshError {
  if (error instanceof ContextOverflowError) return new MeshError("bad_request", error.message, { field: "messages" });
  if (error instanceof AllBusyError) return new MeshError("all_busy", error.message, { retryAfterMs: 1000 });
  return MeshError.from(error, "internal", "the model failed; see the log of the embedded runtime");
}

/** OpenAI's error shape. */
function errorBody(error: MeshError): object {
  const type = error.httpStatus < 500 ? "invalid_request_error" : "server_error";
  return { error: { message: error.message, type, param: error.field ?? null, code: error.code } };
}

function sendError(response: ServerResponse, error: MeshError): void {
  // OpenAI's clients know 503 (try again), not 529.
  const status = error.code === "all_busy" ? ERROR_CODES.draining.httpStatus : error.httpStatus;
  if (error.retryAfterMs !== undefined) response.setHeader("retry-after", Math.ceil(error.retryAfterMs / 1000));
  // What is left of a body that was too large is not read.
  if (status === 413) response.setHeader("connection", "close");
  sendJson(response, status, errorBody(error));
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
  response.end(text);
}
