import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** Servers for the tests, with the answers of the real runtimes as their documentation shows them. Not part of the product. */

type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void;

/** Answers by `METHOD /path`; a value is sent as JSON. What is not there is 404 in `notFound`'s shape. */
export interface TestServer {
  port: number;
  url: string;
  /** Replaced by tests at will. */
  routes: Map<string, unknown>;
  /** `METHOD /path` of each request, in order. */
  seen: string[];
  /** Bodies of POST requests, parsed. */
  bodies: Record<string, unknown>[];
  headers: Record<string, string>;
  close(): Promise<void>;
}

export async function startServer(
  routes: Record<string, unknown>,
  headers: Record<string, string> = {},
  port = 0,
): Promise<TestServer> {
  const server: Server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const body = Buffer.concat(parts).toString();
      const key = `${request.method ?? ""} ${request.url ?? ""}`;
      self.seen.push(key);
      if (body !== "") self.bodies.push(JSON.parse(body) as Record<string, unknown>);
      for (const [name, value] of Object.entries(self.headers)) response.setHeader(name, value);
      const route = self.routes.get(key) ?? self.routes.get("*");
      if (typeof route === "function") return (route as Handler)(request, response, body);
      response.statusCode = route === undefined ? 404 : 200;
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(route ?? { error: { message: "not found" } }));
    });
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const bound = (server.address() as AddressInfo).port;
  const self: TestServer = {
    port: bound,
    url: `http://127.0.0.1:${bound}`,
    routes: new Map(Object.entries(routes)),
    seen: [],
    bodies: [],
    headers,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
  return self;
}

export const CHAT = "POST /v1/chat/completions";

/** One `data:` event. */
export function event(data: unknown): string {
  return `data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`;
}

export function deltaEvent(delta: unknown, finishReason: string | null = null): string {
  return event({
    id: "chatcmpl-1",
    object: "chat.completion.chunk",
    choices: [{ index: 0, delta, finish_reason: finishReason }],
  });
}

/** Sends these pieces as an event stream, then ends. */
export function stream(...pieces: (string | Buffer)[]): Handler {
  return (_request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const piece of pieces) response.write(piece);
    response.end();
  };
}

/** "Hello world" with usage, as llama-server, vLLM, LM Studio and Ollama send it. */
export const HELLO: Handler = stream(
  deltaEvent({ role: "assistant", content: null }),
  deltaEvent({ content: "Hello" }),
  deltaEvent({ content: " world" }),
  deltaEvent({}, "stop"),
  event({ choices: [], usage: { prompt_tokens: 21, completion_tokens: 2, total_tokens: 23 } }),
  event("[DONE]"),
);
