import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { event } from "./runtime-servers.ts";

/**
 * Cloud providers for the tests, with the requests, streams and errors of their documentation:
 * https://platform.openai.com/docs/api-reference/chat-streaming, https://docs.anthropic.com/en/api/messages-streaming,
 * https://api-docs.deepseek.com/guides/reasoning_model. Not part of the product.
 */

type Behaviour = (request: IncomingMessage, response: ServerResponse, body: string) => void;

interface SeenRequest {
  method: string;
  path: string;
  headers: IncomingMessage["headers"];
  /** As it was sent. */
  text: string;
  json: Record<string, unknown>;
}

export interface FakeProvider extends AsyncDisposable {
  /** `http(s)://127.0.0.1:port` */
  url: string;
  /** What the next requests get; replaced by tests at will. */
  behave: Behaviour;
  requests: SeenRequest[];
  /** Bytes that came in on any connection, TLS and headers included. */
  bytesIn(): number;
  /** Bytes that were handed to connections. */
  bytesOut(): number;
  /** Connections that are open now. */
  open(): number;
  /** Connections that ever were. */
  connections(): number;
}

/** @param tls PEM key and certificate; without them plain HTTP on loopback */
export async function startProvider(behave: Behaviour, tls?: { key: string; cert: string }): Promise<FakeProvider> {
  const sockets = new Set<Socket>();
  const all: Socket[] = [];
  const listener: RequestListener = (request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const text = Buffer.concat(parts).toString();
      const { method = "", url = "", headers } = request;
      const json = text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
      self.requests.push({ method, path: url, headers, text, json });
      self.behave(request, response, text);
    });
  };
  const server = tls === undefined ? createHttpServer(listener) : createHttpsServer(tls, listener);
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    all.push(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const self: FakeProvider = {
    url: `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`,
    behave,
    requests: [],
    bytesIn: () => all.reduce((sum, socket) => sum + socket.bytesRead, 0),
    bytesOut: () => all.reduce((sum, socket) => sum + socket.bytesWritten, 0),
    open: () => sockets.size,
    connections: () => all.length,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
  return self;
}

/** Sends these pieces as an event stream, then ends. */
export function sse(...pieces: string[]): Behaviour {
  return (_request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
    for (const piece of pieces) response.write(piece);
    response.end();
  };
}

/** An error as JSON. */
export function fail(status: number, error: unknown, headers: Record<string, string> = {}): Behaviour {
  return (_request, response) =>
    void response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(error));
}

/** One `chat.completion.chunk`; `choices` empty when only usage is told. */
export function chunk(delta: unknown, finishReason: string | null = null, more: object = {}): string {
  return event({
    id: "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
    object: "chat.completion.chunk",
    created: 1_741_570_283,
    model: "gpt-4o-mini-2024-07-18",
    service_tier: "default",
    system_fingerprint: "fp_44709d6fcb",
    choices: delta === undefined ? [] : [{ index: 0, delta, logprobs: null, finish_reason: finishReason }],
    usage: null,
    ...more,
  });
}

/** "Hello from the cloud" as OpenAI streams it with `include_usage`. */
export const OPENAI_HELLO: Behaviour = sse(
  chunk({ role: "assistant", content: "", refusal: null }),
  chunk({ content: "Hello" }),
  chunk({ content: " from the cloud" }),
  chunk({}, "stop"),
  chunk(undefined, null, {
    usage: {
      prompt_tokens: 1000,
      completion_tokens: 500,
      total_tokens: 1500,
      prompt_tokens_details: { cached_tokens: 200, audio_tokens: 0 },
    },
  }),
  event("[DONE]"),
);

/** deepseek-reasoner: keep-alive comments, then `reasoning_content`, then `content`, usage in the last chunk. */
export const DEEPSEEK_REASONING: Behaviour = sse(
  ": keep-alive\n\n",
  chunk({ role: "assistant", content: null, reasoning_content: "" }),
  chunk({ content: null, reasoning_content: "9.11 is" }),
  chunk({ content: null, reasoning_content: " smaller" }),
  chunk({ content: "9.8", reasoning_content: null }),
  chunk({ content: "", reasoning_content: null }, "stop", {
    usage: {
      prompt_tokens: 20,
      completion_tokens: 12,
      total_tokens: 32,
      prompt_cache_hit_tokens: 16,
      prompt_cache_miss_tokens: 4,
      completion_tokens_details: { reasoning_tokens: 9 },
    },
  }),
  event("[DONE]"),
);

export const OPENAI_ERRORS = {
  rateLimit: (headers: Record<string, string> = {}) =>
    fail(
      429,
      {
        error: {
          message: "Rate limit reached for gpt-4o-mini in organization org-x on requests per min (RPM)",
          type: "requests",
          param: null,
          code: "rate_limit_exceeded",
        },
      },
      headers,
    ),
  noQuota: fail(429, {
    error: {
      message: "You exceeded your current quota",
      type: "insufficient_quota",
      param: null,
      code: "insufficient_quota",
    },
  }),
  badKey: fail(401, {
    error: {
      message: "Incorrect API key provided: sk-secre***1234.",
      type: "invalid_request_error",
      param: null,
      code: "invalid_api_key",
    },
  }),
  noModel: fail(404, {
    error: {
      message: "The model `x` does not exist",
      type: "invalid_request_error",
      param: null,
      code: "model_not_found",
    },
  }),
  badRequest: fail(400, {
    error: {
      message: "'messages' must contain the word 'json'",
      type: "invalid_request_error",
      param: "messages",
      code: null,
    },
  }),
  server: fail(500, { error: { message: "The server had an error", type: "server_error", param: null, code: null } }),
} as const;

/** One event of Anthropic's stream: its type is the event's name too. */
export function named(data: { type: string } & Record<string, unknown>): string {
  return `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
}

const MESSAGE_START = named({
  type: "message_start",
  message: {
    id: "msg_1nZdL29xx5MUA1yADyHTEsnR8uuvGzszyY",
    type: "message",
    role: "assistant",
    content: [],
    model: "claude-sonnet-4-20250514",
    stop_reason: null,
    stop_sequence: null,
    usage: { input_tokens: 25, cache_creation_input_tokens: 5, cache_read_input_tokens: 10, output_tokens: 1 },
  },
});

const messageEnd = (stopReason: string, outputTokens: number) => [
  named({
    type: "message_delta",
    delta: { stop_reason: stopReason, stop_sequence: null },
    usage: { output_tokens: outputTokens },
  }),
  named({ type: "message_stop" }),
];

/** The basic request of the documentation: "Hello!" with a ping in between. */
export const ANTHROPIC_HELLO: Behaviour = sse(
  MESSAGE_START,
  named({ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } }),
  named({ type: "ping" }),
  named({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "Hello" } }),
  named({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "!" } }),
  named({ type: "content_block_stop", index: 0 }),
  ...messageEnd("end_turn", 15),
);

/** Thinking, a text and two tools, the second without arguments; and an event type of the future. */
export const ANTHROPIC_TOOLS: Behaviour = sse(
  MESSAGE_START,
  named({ type: "content_block_start", index: 0, content_block: { type: "thinking", thinking: "", signature: "" } }),
  named({ type: "content_block_delta", index: 0, delta: { type: "thinking_delta", thinking: "Weather?" } }),
  named({
    type: "content_block_delta",
    index: 0,
    delta: { type: "signature_delta", signature: "EqQBCgIYAhIM1gbcDa9GJwZA2b3h" },
  }),
  named({ type: "content_block_stop", index: 0 }),
  named({ type: "content_block_start", index: 1, content_block: { type: "text", text: "" } }),
  named({ type: "content_block_delta", index: 1, delta: { type: "text_delta", text: "I look." } }),
  named({ type: "content_block_stop", index: 1 }),
  named({
    type: "content_block_start",
    index: 2,
    content_block: { type: "tool_use", id: "toolu_01T1x1fJ34qAmk2tNTrN7Up6", name: "get_weather", input: {} },
  }),
  named({ type: "content_block_delta", index: 2, delta: { type: "input_json_delta", partial_json: "" } }),
  named({ type: "content_block_delta", index: 2, delta: { type: "input_json_delta", partial_json: '{"location":' } }),
  named({ type: "content_block_delta", index: 2, delta: { type: "input_json_delta", partial_json: ' "Paris"}' } }),
  named({ type: "content_block_stop", index: 2 }),
  named({
    type: "content_block_start",
    index: 3,
    content_block: { type: "tool_use", id: "toolu_02", name: "get_time", input: {} },
  }),
  named({ type: "content_block_stop", index: 3 }),
  named({ type: "something_of_the_future", value: 1 }),
  ...messageEnd("tool_use", 89),
);

export const ANTHROPIC_ERRORS = {
  overloaded: fail(529, {
    type: "error",
    error: { type: "overloaded_error", message: "Overloaded" },
    request_id: "req_011",
  }),
  overloadedMidStream: sse(
    MESSAGE_START,
    named({ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } }),
    named({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "Hel" } }),
    named({ type: "error", error: { type: "overloaded_error", message: "Overloaded" } }),
  ),
} as const;
