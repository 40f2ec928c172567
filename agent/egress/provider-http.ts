import type { IncomingMessage, RequestOptions } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { Socket } from "node:net";
import { TLSSocket, getCACertificates } from "node:tls";
import { plainHttp } from "../../service/plain-http.ts";

/** A connection is there within this time, TLS included, milliseconds. */
const CONNECT_LIMIT_MS = 10_000;
/** Connections are kept for reuse; one that nobody used for this time is closed, milliseconds. */
const KEPT = { keepAlive: true, timeout: 30_000 };
/** Of an error's body so much is read to see of what kind it is; the rest is not waited for. */
const MAX_ERROR_BYTES = 64 * 1024;

export interface ProviderRequest {
  url: string;
  headers: Readonly<Record<string, string>>;
  /** JSON, sent as it is. */
  body: Uint8Array;
}

/** Sends requests to one provider. */
export interface ProviderHttp {
  /** Resolves with the head of the response. `signal` closes the connection at any moment, also while the body is read. */
  post(request: ProviderRequest, signal: AbortSignal): Promise<IncomingMessage>;
}

/** The connection was not there in time. */
export class ConnectTimeout extends Error {
  override readonly name = "ConnectTimeout";
  readonly code = "ETIMEDOUT";
}

/**
 * HTTP to a cloud provider. node:https and not `fetch`: `fetch` cannot be given a connect timeout or an authority of one's
 * own without another dependency, gives up by itself after 300 s without a head, and follows redirects unless told not to.
 * `HTTPS_PROXY` and `NO_PROXY` are obeyed; certificates are always checked.
 * @param ca PEM of a further authority, for companies whose proxy opens TLS
 */
export function createProviderHttp(
  env: Readonly<Record<string, string | undefined>>,
  ca: string | undefined,
  connectLimitMs = CONNECT_LIMIT_MS,
): ProviderHttp {
  const secure = new HttpsAgent({
    ...KEPT,
    rejectUnauthorized: true,
    // Only these two: an agent that is handed the whole environment would hold the keys in it as well.
    proxyEnv: {
      HTTPS_PROXY: env["https_proxy"] ?? env["HTTPS_PROXY"],
      NO_PROXY: env["no_proxy"] ?? env["NO_PROXY"],
    },
    ...(ca === undefined ? {} : { ca: [...getCACertificates("default"), ca] }),
  });
  // Plain HTTP is to this machine only, and never by a proxy.
  const plain = new plainHttp.Agent({ ...KEPT, proxyEnv: {} });

  const send = ({ url, headers, body }: ProviderRequest, signal: AbortSignal): Promise<IncomingMessage> => {
    const target = new URL(url);
    const https = target.protocol === "https:";
    const options: RequestOptions = {
      method: "POST",
      agent: https ? secure : plain,
      headers: {
        ...headers,
        accept: "text/event-stream",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "content-length": String(body.byteLength),
      },
    };
    return new Promise((resolve, reject) => {
      const outgoing = https ? httpsRequest(target, options) : plainHttp.request(target, options);
      const timer = setTimeout(() => outgoing.destroy(new ConnectTimeout("no connection in time")), connectLimitMs);
      const connected = () => clearTimeout(timer);
      let response: IncomingMessage | undefined;
      // Not Node's own `signal`: it destroys the request, which emits an error that nobody can catch when the answer is complete
      // and the connection just given back.
      const abort = (): void =>
        response === undefined ? void outgoing.destroy(new Error("aborted")) : void response.destroy();
      outgoing.on("socket", (socket) => {
        if (isConnected(socket)) connected();
        else socket.once(https ? "secureConnect" : "connect", connected);
      });
      outgoing.on("response", (head) => {
        response = head;
        // Closing it ourselves must not become an uncaught error.
        head.on("error", () => undefined);
        resolve(head);
      });
      outgoing.on("close", () => {
        connected();
        signal.removeEventListener("abort", abort);
      });
      // Stays for the life of the request: a late socket error must not become an uncaught one.
      outgoing.on("error", (error: NodeJS.ErrnoException) => {
        connected();
        // The server closed a kept connection just as we used it: nothing was read of the request (Node's documented case).
        const stale = outgoing.reusedSocket && error.code === "ECONNRESET" && !signal.aborted;
        if (stale) resolve(send({ url, headers, body }, signal));
        else reject(error);
      });
      signal.addEventListener("abort", abort, { once: true });
      if (signal.aborted) abort();
      else outgoing.end(body);
    });
  };

  return { post: send };
}

/** A kept connection, or one through a proxy, comes ready. `authorized` is true once the handshake is done and checked. */
function isConnected(socket: Socket): boolean {
  return socket instanceof TLSSocket ? socket.authorized : !socket.connecting;
}

/** The first bytes of a body as text; the connection is closed when there is more. */
export async function readErrorBody(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let sizeBytes = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    parts.push(part);
    sizeBytes += part.byteLength;
    // Leaving the loop destroys the response.
    if (sizeBytes >= MAX_ERROR_BYTES) break;
  }
  return Buffer.concat(parts).subarray(0, MAX_ERROR_BYTES).toString("utf8");
}
