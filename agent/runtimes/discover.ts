import { MeshError } from "../../bus-schemas/index.ts";
import { embeddedRuntime, type EmbeddedServer } from "./embedded.ts";
import { KINDS } from "./index.ts";
import { LearnedRates } from "./learned-rates.ts";
import { LOOPBACK_HOSTS, parseLoopbackUrl, type LoopbackHost } from "./loopback-http.ts";
import { loopbackRuntime } from "./loopback.ts";
import type { Runtime, RuntimeState } from "./runtime.ts";
import { WatchedEndpoint } from "./watched-endpoint.ts";

/** A server that an operator named. */
export interface NamedEndpoint {
  /** As `http://127.0.0.1:9000`. */
  url: string;
  /** Bearer token, where it wants one. */
  token?: string | undefined;
  /** Jobs at once, where its API does not tell. */
  slots?: number | undefined;
}

export interface RuntimesOptions {
  /** Servers beyond those on well-known ports, also of the kind `openai-compatible`; each may be just its URL. */
  endpoints?: readonly (string | NamedEndpoint)[];
  /** Ports to look at; default: every kind's own. */
  ports?: readonly number[];
  /** The embedded runtime as it is now, undefined while it is not up. Asked at each inspection: a restart changes its port. */
  embedded?: () => EmbeddedServer | undefined;
  /** Whether the diagnostic runtime is there too; asked at each inspection. */
  loopback: () => boolean;
  /** Milliseconds, any origin. */
  now: () => number;
}

/** Something is there and cannot be used; `problem` is for people and holds nothing that a server said. */
export interface RuntimeProblem {
  endpoint: string;
  problem: string;
}

export interface FoundRuntimes {
  /** By name. */
  runtimes: Map<string, { runtime: Runtime; state: RuntimeState }>;
  problems: RuntimeProblem[];
}

export interface Runtimes {
  /** Looks at every endpoint at once; never throws. A second call waits for the first. */
  inspect(signal: AbortSignal): Promise<FoundRuntimes>;
}

/** @throws MeshError `bad_config` naming the endpoint that is not on this machine. */
export function createRuntimes(options: RuntimesOptions): Runtimes {
  const rates = new LearnedRates();
  const endpoints = watchedEndpoints(options, rates);
  const loopback = loopbackRuntime();
  let embedded: { key: string; endpoint: WatchedEndpoint } | undefined;
  let previous: Promise<unknown> = Promise.resolve();

  const inspect = async (signal: AbortSignal): Promise<FoundRuntimes> => {
    const server = options.embedded?.();
    const key = JSON.stringify(server);
    if (server === undefined) embedded = undefined;
    else if (embedded?.key !== key) embedded = { key, endpoint: watchEmbedded(server, rates, options.now) };
    const all = embedded === undefined ? endpoints : [...endpoints, embedded.endpoint];
    const reports = await Promise.all(
      all.map(async (endpoint) => ({ label: endpoint.label, report: await endpoint.inspect(signal) })),
    );
    const found: FoundRuntimes = { runtimes: new Map(), problems: [] };
    for (const { label, report } of reports) {
      if (report.found !== undefined) found.runtimes.set(report.found.runtime.name, report.found);
      if (report.problem !== undefined) found.problems.push({ endpoint: label, problem: report.problem });
    }
    const diagnostic = options.loopback() ? await loopback.inspect(signal) : undefined;
    if (diagnostic !== undefined) found.runtimes.set(loopback.name, { runtime: loopback, state: diagnostic });
    return found;
  };

  return {
    inspect(signal) {
      // One after the other: two at once would count one miss twice.
      const next = previous.then(() => inspect(signal));
      previous = next.catch(() => undefined);
      return next;
    },
  };
}

/** One watcher a port: the named ones with all their settings, then the well-known ports that nobody named. */
function watchedEndpoints(options: RuntimesOptions, rates: LearnedRates): WatchedEndpoint[] {
  const byPort = new Map<number, { hosts: LoopbackHost[]; token?: string | undefined; slots?: number | undefined }>();
  for (const [place, entry] of (options.endpoints ?? []).entries()) {
    const { url, token, slots }: NamedEndpoint = typeof entry === "string" ? { url: entry } : entry;
    const field = `endpoints[${place}]`;
    const { hosts, port } = parseLoopbackUrl(url.trim(), field);
    if (byPort.has(port)) throw new MeshError("bad_config", `${field}: port ${port} is named twice`, { field });
    byPort.set(port, { hosts, token, slots });
  }
  const ports = options.ports ?? [...new Set(KINDS.flatMap((kind) => kind.defaultPorts))];
  const common = { kinds: KINDS, rates, now: options.now };
  return [
    ...[...byPort].map(([port, named]) => new WatchedEndpoint({ ...named, port, named: true, ...common })),
    ...ports
      .filter((port) => !byPort.has(port))
      .map((port) => new WatchedEndpoint({ hosts: LOOPBACK_HOSTS, port, named: false, ...common })),
  ];
}

function watchEmbedded(server: EmbeddedServer, rates: LearnedRates, now: () => number): WatchedEndpoint {
  const { hosts, port } = parseLoopbackUrl(server.baseUrl, "embedded");
  return new WatchedEndpoint({
    hosts,
    port,
    token: server.token,
    named: true,
    kinds: [embeddedRuntime(server)],
    rates,
    now,
  });
}
