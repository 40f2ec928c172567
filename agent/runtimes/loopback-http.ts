import type { IncomingMessage } from "node:http";
import { MeshError } from "../../bus-schemas/index.ts";
import { plainHttp } from "../../service/plain-http.ts";

/**
 * HTTP to servers on this machine, and to nothing else. node:http with an agent of our own and not `fetch`, for two reasons:
 * `fetch` and the global agent obey HTTP_PROXY when NODE_USE_ENV_PROXY is set, which would carry prompts off the machine; and
 * `fetch` gives up after 300 s without response headers, which a long prefill on a CPU exceeds.
 * `proxyEnv` says so for an agent of one's own too, which newer versions of Node otherwise give the environment's.
 */
const AGENT = new plainHttp.Agent({ keepAlive: false, proxyEnv: {} });

export const LOOPBACK_HOSTS = ["127.0.0.1", "::1"] as const;
export type LoopbackHost = (typeof LOOPBACK_HOSTS)[number];

/** Where a server listens on this machine. */
export interface LoopbackTarget {
  host: LoopbackHost;
  port: number;
  /** Sent as `Authorization: Bearer …`. */
  token?: string | undefined;
}

export interface LoopbackRequest {
  method: "GET" | "POST";
  path: string;
  /** Sent as JSON. */
  body?: unknown;
  accept?: string;
}

/** Thrown when a body is longer than its cap. */
export class BodyTooLarge extends Error {
  override readonly name = "BodyTooLarge";
}

/**
 * `http://127.0.0.1:9000`, `http://[::1]:9000` or `http://localhost:9000` (both addresses), a trailing `/v1` allowed.
 * @throws MeshError `bad_config` naming `field`: anything that is not plain http to this machine.
 */
export function parseLoopbackUrl(url: string, field: string): { hosts: LoopbackHost[]; port: number } {
  const refuse = (why: string): never => {
    throw new MeshError("bad_config", `${field}: ${why}, as in http://127.0.0.1:9000`, { field });
  };
  if (!URL.canParse(url)) return refuse("must be a URL");
  const parsed = new URL(url);
  if (parsed.protocol !== "http:") return refuse("must begin with http://");
  if (parsed.username !== "" || parsed.password !== "") return refuse("must not hold a user or password");
  if (!/^\/(v1\/?)?$/.test(parsed.pathname) || parsed.search !== "" || parsed.hash !== "")
    return refuse("must end after the port");
  const port = parsed.port === "" ? 80 : Number(parsed.port);
  const name = parsed.hostname.replace(/^\[|\]$/g, "");
  if (name === "localhost") return { hosts: [...LOOPBACK_HOSTS], port };
  const host = LOOPBACK_HOSTS.find((candidate) => candidate === name);
  if (host === undefined) return refuse("must be on this machine (127.0.0.1, [::1] or localhost)");
  return { hosts: [host], port };
}

/**
 * Sends one request and resolves with the response as soon as its head is here. Redirects are not followed. No timeout of its own:
 * `signal` closes the connection at any moment, also while the body is read.
 */
export function sendLoopback(
  target: LoopbackTarget,
  request: LoopbackRequest,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const body = request.body === undefined ? undefined : Buffer.from(JSON.stringify(request.body));
  return new Promise((resolve, reject) => {
    const outgoing = plainHttp.request({
      agent: AGENT,
      host: target.host,
      port: target.port,
      method: request.method,
      path: request.path,
      signal,
      headers: {
        accept: request.accept ?? "application/json",
        ...(body === undefined
          ? {}
          : { "content-type": "application/json", "content-length": String(body.byteLength) }),
        ...(target.token === undefined ? {} : { authorization: `Bearer ${target.token}` }),
      },
    });
    outgoing.on("response", resolve);
    // Stays for the life of the request: a late socket error must not become an uncaught one.
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

/** The whole body as text. @throws BodyTooLarge above `maxBytes`, and the connection is closed. */
export async function readBody(response: IncomingMessage, maxBytes: number): Promise<string> {
  const parts: Buffer[] = [];
  let sizeBytes = 0;
  // Leaving the loop by a throw destroys the response, which closes its connection.
  for await (const part of response as AsyncIterable<Buffer>) {
    sizeBytes += part.byteLength;
    if (sizeBytes > maxBytes) throw new BodyTooLarge(`more than ${maxBytes} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

/** The `Server` header, lower case, empty without one. */
export function serverOf(response: IncomingMessage): string {
  return String(response.headers.server ?? "").toLowerCase();
}

/** Whether a response comes from this mesh's own gateway: running a job there would send it round in a circle. */
export function isOwnGateway(response: IncomingMessage): boolean {
  return /^tiermesh(\/|$)/.test(serverOf(response));
}
