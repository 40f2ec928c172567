import type { ServedModel } from "../../bus-schemas/index.ts";
import { createRuntimes, type Runtimes, type RuntimesOptions } from "../../agent/runtimes/discover.ts";
import { CHAT, HELLO, startServer, type TestServer } from "./runtime-servers.ts";
import { SURFACES } from "./runtime-surfaces.ts";

export const never = new AbortController().signal;

/** Looks at the servers that are named, and at no well-known port. */
export const watching = (options: Partial<RuntimesOptions>): Runtimes =>
  createRuntimes({ ports: [], loopback: () => false, now: () => performance.now(), ...options });

/** Servers that pose as runtimes, for one test file; `closeAll` belongs in its afterEach. */
export class PosedRuntimes {
  readonly #servers: TestServer[] = [];

  /** A server with that kind's documented answers, and `changes` to them by `METHOD /path`. */
  async pose(kind: string, changes: Record<string, unknown> = {}): Promise<TestServer> {
    const surface = SURFACES.find((candidate) => candidate.kind === kind);
    if (surface === undefined) throw new Error(`no such surface: ${kind}`);
    return this.serve({ ...surface.routes, [CHAT]: HELLO, ...changes }, { ...surface.headers });
  }

  async serve(routes: Record<string, unknown>, headers?: Record<string, string>): Promise<TestServer> {
    const server = await startServer(routes, headers);
    this.#servers.push(server);
    return server;
  }

  async closeAll(): Promise<void> {
    await Promise.all(this.#servers.splice(0).map((server) => server.close()));
  }
}

/** The models that an agent beside this server would serve. */
export async function modelsOf(server: TestServer): Promise<ServedModel[]> {
  const { runtimes } = await watching({ endpoints: [server.url] }).inspect(never);
  return [...runtimes.values()].flatMap(({ state }) => state.models);
}
