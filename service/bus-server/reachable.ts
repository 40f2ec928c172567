import { connect } from "node:net";
import type { Environment } from "../config.ts";

/** How long a source may try to connect before the next source has its turn, milliseconds. */
export const CONNECT_LIMIT_MS = 5000;

/**
 * Whether something accepts a TCP connection for this URL: its host, or the proxy that the environment names for it.
 * A closed network answers in at most `limitMs`, whatever the resolver and the firewall do.
 */
export function isReachable(
  url: string,
  env: Environment,
  signal?: AbortSignal,
  limitMs = CONNECT_LIMIT_MS,
): Promise<boolean> {
  const target = proxyFor(url, env) ?? url;
  if (!URL.canParse(target)) return Promise.resolve(false);
  const { hostname, port, protocol } = new URL(target);
  return new Promise((resolve) => {
    const host = hostname.replace(/^\[|\]$/g, "");
    const socket = connect({ host, port: port === "" ? (protocol === "http:" ? 80 : 443) : Number(port) });
    const timer = setTimeout(() => finish(false), limitMs);
    const abort = () => finish(false);
    function finish(reachable: boolean) {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      socket.destroy();
      resolve(reachable);
    }
    socket.on("connect", () => finish(true)).on("error", () => finish(false));
    if (signal?.aborted === true) finish(false);
    else signal?.addEventListener("abort", abort, { once: true });
  });
}

/** The proxy that the usual variables (`https_proxy`, `no_proxy`, either case) name for this URL, or undefined. */
export function proxyFor(url: string, env: Environment): string | undefined {
  const { protocol, hostname } = new URL(url);
  const name = protocol === "http:" ? "http_proxy" : "https_proxy";
  const proxy = env[name] ?? env[name.toUpperCase()];
  if (proxy === undefined || proxy === "") return undefined;
  const direct = (env["no_proxy"] ?? env["NO_PROXY"] ?? "")
    .split(",")
    .map((entry) => entry.trim().replace(/^\*?\./, ""));
  const bypass = direct.some(
    (entry) => entry === "*" || (entry !== "" && (hostname === entry || hostname.endsWith(`.${entry}`))),
  );
  if (bypass) return undefined;
  return proxy.includes("://") ? proxy : `http://${proxy}`;
}
