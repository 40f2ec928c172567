import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { Agent as HttpAgent, get as httpGet, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, get as httpsGet } from "node:https";
import { pipeline } from "node:stream/promises";
import type { Environment } from "../../config.ts";

/** A server that sends nothing for this long has stalled, milliseconds. */
const STALL_MS = 30_000;
const MAX_REDIRECTS = 5;

/**
 * Downloads `url` into `file`, through the environment's proxy if it names one, and returns the SHA-256 of what was
 * written (hex).
 * @throws Error saying what the server answered.
 */
export async function download(url: string, file: string, env: Environment, signal?: AbortSignal): Promise<string> {
  const response = await follow(url, env, signal);
  const hash = createHash("sha256");
  await pipeline(
    response,
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        yield chunk;
      }
    },
    createWriteStream(file),
    ...(signal === undefined ? [] : [{ signal }]),
  );
  return hash.digest("hex");
}

async function follow(url: string, env: Environment, signal?: AbortSignal): Promise<IncomingMessage> {
  let next = url;
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    const response = await request(next, env, signal);
    const status = response.statusCode ?? 0;
    const location = response.headers.location;
    if (status === 200) return response;
    response.destroy();
    if (status < 300 || status >= 400 || location === undefined)
      throw new Error(`${new URL(next).host} answered ${status}`);
    const target = new URL(location, next);
    if (target.protocol !== "https:" && next.startsWith("https:")) throw new Error("redirected away from https");
    next = target.href;
  }
  throw new Error(`more than ${MAX_REDIRECTS} redirects`);
}

function request(url: string, env: Environment, signal?: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const secure = url.startsWith("https:");
    const proxyEnv = { ...env };
    const options = {
      ...(signal === undefined ? {} : { signal }),
      timeout: STALL_MS,
      headers: { "user-agent": "tiermesh" },
    };
    const outgoing = secure
      ? httpsGet(url, { ...options, agent: new HttpsAgent({ proxyEnv }) }, resolve)
      : httpGet(url, { ...options, agent: new HttpAgent({ proxyEnv }) }, resolve);
    outgoing.on("timeout", () => outgoing.destroy(new Error(`nothing came for ${STALL_MS / 1000} s`)));
    outgoing.on("error", reject);
  });
}
