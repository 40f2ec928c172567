import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import type { Socket } from "node:net";
import { MeshError } from "../bus-schemas/index.ts";
import { MAX_BODY_BYTES } from "../service/messages.ts";
import { within } from "../service/within.ts";
import type { Exchanges } from "./exchanges.ts";
import { HttpError, asAnswerable } from "./http-error.ts";
import { parseJsonBody } from "./json-body.ts";
import { errorAnswer, type ErrorAnswer } from "./openai/errors.ts";
import type { GatewayLimits, GatewayParts } from "./parts.ts";
import { ROUTES } from "./routes/index.ts";
import type { RouteDef } from "./routes/route-def.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** When the request's head was here, by the monotonic clock, milliseconds. */
    startedAtMs: number;
  }
}

/** Value of the `server` header; an agent that finds it on a port knows that this is no runtime (agent/runtimes). */
const SERVER_NAME = "tiermesh";
/** Largest head of a request, bytes. */
const MAX_HEADER_BYTES = 16 * 1024;
/** Idle connections are kept this long, milliseconds: longer than proxies keep theirs (nginx: 60 s). */
const KEEP_ALIVE_MS = 72_000;
/** What was told to end has this long to say so to its callers, milliseconds. */
const ABORT_LIMIT_MS = 1000;

export const DEFAULT_LIMITS: GatewayLimits = {
  maxBodyBytes: MAX_BODY_BYTES,
  headersTimeoutMs: 15_000,
  requestTimeoutMs: 60_000,
  checkEveryMs: 2000,
  sseKeepAliveMs: 15_000,
  sseStallMs: 30_000,
};

/** The gateway's HTTP server, not listening yet. Every answer, whatever went wrong, has the mesh's `server` header. */
export function createServer(parts: GatewayParts, draining: () => boolean = () => false): FastifyInstance {
  const { limits, log } = parts;
  const app = fastify({
    logger: false,
    bodyLimit: limits.maxBodyBytes,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: KEEP_ALIVE_MS,
    return503OnClosing: false,
    forceCloseConnections: "idle",
    http: {
      headersTimeout: limits.headersTimeoutMs,
      connectionsCheckingInterval: limits.checkEveryMs,
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 1000 },
    clientErrorHandler: (error, socket) => answerBrokenRequest(error, socket as Socket, limits),
    frameworkErrors: (error, _request, reply) =>
      void sendError(reply.header("server", SERVER_NAME), asAnswerable(error, limits.maxBodyBytes)),
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "buffer" }, (_request, body, done) => {
    try {
      done(null, parseJsonBody(body as Buffer));
    } catch (error) {
      done(error as Error);
    }
  });
  app.decorateRequest("startedAtMs", 0);
  app.addHook("onRequest", (request, reply, done) => {
    request.startedAtMs = performance.now();
    void reply.header("server", SERVER_NAME);
    countWhenClosed(parts, request, reply);
    if (draining()) {
      void reply.header("connection", "close");
      return done(new MeshError("draining", "this gateway is stopping; ask again", { retryAfterMs: 1000 }));
    }
    done();
  });
  app.setErrorHandler((error, request, reply) => {
    const shown = asAnswerable(error, limits.maxBodyBytes);
    if (shown.code === "internal") log.error({ err: error, route: request.routeOptions.url }, "a request failed");
    if (shown.code === "payload_too_large" && request.headers["content-length"] !== undefined) {
      // Closed while its caller still writes, the connection would be reset and this answer lost with it; the rest of a
      // body that says its length is read and dropped instead, for as long as a request may take.
      void reply.removeHeader("connection");
      request.raw.resume();
    }
    return sendError(reply, shown);
  });
  const routes = ROUTES.map((factory) => factory(parts));
  for (const { method, path, handle } of routes) app.route({ method, url: path, handler: handle });
  app.setNotFoundHandler((request, reply) => sendError(reply, whyNotFound(request, routes)));
  return app;
}

/**
 * Stops listening, lets the answers in progress end within `limitMs` milliseconds, then ends the rest. Connections are not
 * waited for: Node's `close` would wait for ever for one on which nothing was ever sent, as browsers and SDKs open ahead.
 */
export async function closeServer(app: FastifyInstance, exchanges: Exchanges, limitMs: number): Promise<void> {
  const closed = app.close();
  if (!(await within(exchanges.idle(), limitMs))) {
    exchanges.abortAll();
    await within(exchanges.idle(), ABORT_LIMIT_MS);
  }
  app.server.closeAllConnections();
  await closed;
}

function sendError(reply: FastifyReply, error: MeshError | HttpError): FastifyReply {
  const { status, headers, body } = errorAnswer(error);
  return reply.code(status).headers(headers).send(JSON.stringify(body));
}

/** One count for each request, once its answer is complete or its caller has left (499, as nginx counts it). */
function countWhenClosed({ counters, exchanges }: GatewayParts, request: FastifyRequest, reply: FastifyReply): void {
  const { raw } = reply;
  exchanges.began();
  raw.once("close", () => {
    exchanges.ended();
    const route = request.routeOptions.url ?? "unknown";
    counters.requests.inc({ route, method: request.method, status: raw.writableFinished ? raw.statusCode : 499 });
    counters.duration.observe({ route }, (performance.now() - request.startedAtMs) / 1000);
  });
}

/** Wrong method on a known path, or a path that is not there. */
function whyNotFound(request: FastifyRequest, routes: readonly RouteDef[]): MeshError | HttpError {
  const path = request.url.split("?", 1)[0] ?? "";
  const methods = routes.filter((route) => matches(route.path, path)).map((route) => route.method);
  if (methods.length > 0) {
    const allow = methods.join(", ");
    return new HttpError("method_not_allowed", `this path takes ${allow}`, { allow });
  }
  const known = routes.map((route) => `${route.method} ${route.path.replace("*", "{id}")}`).join(", ");
  return new MeshError("not_found", `no such path; there are ${known}`);
}

function matches(pattern: string, path: string): boolean {
  const plain = path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;
  return pattern.endsWith("*") ? plain.startsWith(pattern.slice(0, -1)) : plain === pattern;
}

/** Answers bytes that are no HTTP request (Node's `clientError`): there is no response object, only the socket. */
function answerBrokenRequest(error: Error & { code?: string }, socket: Socket, limits: GatewayLimits): void {
  // Node keeps the response in progress here; into the middle of one nothing may be written (as Node's own handler does).
  const { _httpMessage: current } = socket as { _httpMessage?: { headersSent: boolean } | null };
  if (error.code !== "ECONNRESET" && socket.writable && current?.headersSent !== true)
    socket.write(rawAnswer(errorAnswer(brokenRequest(error.code, limits))));
  socket.destroySoon();
}

function brokenRequest(code: string | undefined, limits: GatewayLimits): MeshError | HttpError {
  if (code === "HPE_HEADER_OVERFLOW")
    return new HttpError("headers_too_large", `the request's headers are larger than ${MAX_HEADER_BYTES} bytes`);
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") {
    return new HttpError(
      "request_timeout",
      `the request was not complete within ${limits.headersTimeoutMs} ms for its headers and ${limits.requestTimeoutMs} ms in all`,
    );
  }
  return new MeshError("bad_request", "this is not an HTTP/1.1 request");
}

const STATUS_TEXT: Readonly<Record<number, string>> = {
  400: "Bad Request",
  408: "Request Timeout",
  431: "Request Header Fields Too Large",
};

function rawAnswer({ status, headers, body }: ErrorAnswer): string {
  const text = JSON.stringify(body);
  const head = Object.entries({
    ...headers,
    server: SERVER_NAME,
    connection: "close",
    "content-length": String(Buffer.byteLength(text)),
  });
  return `HTTP/1.1 ${status} ${STATUS_TEXT[status] ?? "Error"}\r\n${head.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n${text}`;
}
