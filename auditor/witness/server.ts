import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { plainHttp } from "../../service/plain-http.ts";
import { MAX_BODY_BYTES } from "./request.ts";
import type { Witness } from "./witness.ts";

/** A request is here within this time, milliseconds, or it is cut off. */
const REQUEST_LIMIT_MS = 10_000;

export interface WitnessServer {
  /** Where it listens. */
  host: string;
  port: number;
  close(): Promise<void>;
}

/** Serves a witness: `POST /add-checkpoint`, and `GET /health`. */
export async function serveWitness(witness: Witness, address: { host: string; port: number }): Promise<WitnessServer> {
  const server = plainHttp.createServer({ requestTimeout: REQUEST_LIMIT_MS }, (request, response) => {
    void serve(witness, request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(address.port, address.host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    host: address.host,
    port,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      // Logs keep their connections; what is being answered is answered.
      server.closeIdleConnections();
      await closed;
    },
  };
}

async function serve(witness: Witness, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const say = (status: number, type: string, body: string) =>
    void response.writeHead(status, { "content-type": type }).end(body);
  if (request.url === "/health" && request.method === "GET")
    return say(200, "application/json", JSON.stringify({ ok: true, cosigned: witness.sizes }));
  if (request.url !== "/add-checkpoint")
    return say(404, "text/plain", "POST /add-checkpoint (c2sp.org/tlog-witness)\n");
  if (request.method !== "POST") return say(405, "text/plain", "POST it\n");
  const body = await read(request);
  if (body === undefined) return say(413, "text/plain", `more than ${MAX_BODY_BYTES} bytes\n`);
  const answer = await witness.addCheckpoint(body);
  say(answer.status, answer.type, answer.body);
}

/** Undefined when it is too long. */
async function read(request: IncomingMessage): Promise<string | undefined> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes <= MAX_BODY_BYTES) parts.push(part);
  }
  // The rest of a body that is too long is read and dropped: an answer to who still sends would be lost.
  return bytes > MAX_BODY_BYTES ? undefined : Buffer.concat(parts).toString();
}
