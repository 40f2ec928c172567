import { once } from "node:events";
import type { ClientRequest, IncomingMessage } from "node:http";
import { MeshError } from "../../bus-schemas/index.ts";
import { plainHttp } from "../../service/plain-http.ts";

/** As plain-http.ts has it. */
const plainHttps = process.getBuiltinModule("node:https");

/** A slower witness counts as away until it is asked again, milliseconds. */
const ANSWER_LIMIT_MS = 3000;
const MAX_ANSWER_BYTES = 64 * 1024;

/**
 * Posts a text; redirects are not followed.
 * @param ca authority of the witness's certificate, PEM; those of the system if undefined
 * @throws MeshError `bad_request` for an answer that is too long; the network's errors
 */
export async function post(
  url: string,
  body: string,
  ca: string | undefined,
  signal: AbortSignal,
): Promise<{ status: number; text: string; type: string }> {
  const options = {
    method: "POST",
    headers: { "content-type": "text/plain; charset=utf-8", "content-length": Buffer.byteLength(body) },
    signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_LIMIT_MS)]),
  };
  const request: ClientRequest = url.startsWith("https:")
    ? plainHttps.request(url, ca === undefined ? options : { ...options, ca })
    : plainHttp.request(url, options);
  request.end(body);
  const [response] = (await once(request, "response")) as [IncomingMessage];
  // An error of the request behind its answer comes out of the answer's body, too.
  request.on("error", () => undefined);
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response as AsyncIterable<Uint8Array>) {
    bytes += part.length;
    if (bytes > MAX_ANSWER_BYTES) {
      request.destroy();
      throw new MeshError("bad_request", "its answer is too long");
    }
    parts.push(part);
  }
  const type = response.headers["content-type"] ?? "";
  return { status: response.statusCode ?? 0, text: Buffer.concat(parts).toString(), type };
}

/** Why a request failed, in a word that holds no address. */
export function reasonOf(error: unknown): string {
  if (error instanceof MeshError) return error.message.slice(0, 100);
  const { cause, code, name } = (error ?? {}) as NodeJS.ErrnoException & { cause?: Error };
  // What ran into the limit says so in its cause.
  return cause?.name === "TimeoutError" ? cause.name : (code ?? name ?? "unknown");
}
