import path from "node:path";
import { fileURLToPath } from "node:url";
import { writeFileSync } from "node:fs";
import { jetstreamManager } from "@nats-io/jetstream";
import { MeshError, type EventType } from "../../bus-schemas/index.ts";
import { MeshClient } from "../../client/index.ts";
import { connectBus, type Bus, type BusAddress } from "../../service/bus.ts";
import { busVariables } from "../../service/config.ts";
import { createLog } from "../../service/log.ts";
import { ensureAuditStream, ensureJobStreams } from "../../service/streams.ts";
import { startTestBus, type TestBus } from "./bus.ts";
import { startProc, type Proc } from "./proc.ts";
import { tempDir } from "./temp-dir.ts";
import { waitFor } from "./wait-for.ts";

const ROOT = path.join(import.meta.dirname, "..", "..");

/** What a node's process says. */
interface Said {
  began?: string;
  ended?: string;
  how?: string;
}

/** A node as a process of its own (durable-agent.child.ts). */
export interface Node {
  nodeId: string;
  proc: Proc;
  /** What it has said so far. */
  said(): Said[];
  runsOf(jobId: string): number;
}

/** Queues of a test's policy: name → settings. */
export type Queues = Record<string, Record<string, number>>;

/** A real broker with the streams, router processes and node processes, and a client. */
export class DurableMesh implements AsyncDisposable {
  readonly server: TestBus;
  readonly bus: Bus;
  readonly client: MeshClient;
  readonly #address: BusAddress;
  readonly #policy: string;
  readonly #procs: Proc[] = [];
  readonly #folder: AsyncDisposable;

  private constructor(server: TestBus, bus: Bus, address: BusAddress, policy: string, folder: AsyncDisposable) {
    this.server = server;
    this.bus = bus;
    this.client = new MeshClient(bus);
    this.#address = address;
    this.#policy = policy;
    this.#folder = folder;
  }

  static async start(queues: Queues, retryAttempts = 2): Promise<DurableMesh> {
    const server = await startTestBus();
    const address = { url: server.url, user: server.user, password: server.pass };
    const bus = await connectBus("test", address, createLog("test", "silent"));
    await ensureAuditStream(bus);
    await ensureJobStreams(bus);
    const folder = tempDir("tiermesh-durable-");
    const policy = path.join(folder.path, "routing.yaml");
    writeFileSync(policy, policyText(queues, retryAttempts));
    return new DurableMesh(server, bus, address, policy, folder);
  }

  /** Routers start at once, as in a data centre after a power cut. */
  async routers(...ids: string[]): Promise<Proc[]> {
    return Promise.all(ids.map((id) => this.router(id)));
  }

  async router(id: string): Promise<Proc> {
    const proc = startProc(path.join(ROOT, "router", "main.ts"), {
      env: {
        ...busVariables(this.#address),
        TIERMESH_ROUTER_ID: id,
        TIERMESH_SUPERVISED: undefined,
        ROUTING_CONFIG_PATH: this.#policy,
        // A spool of its own: what a router that was killed had recorded is not for the next test's bus.
        TIERMESH_HOME: path.dirname(this.#policy),
        LOG_LEVEL: "warn",
      },
    });
    this.#procs.push(proc);
    await proc.waitForLine(/^\{"ready":true.*"process":"router"/, 40_000);
    return proc;
  }

  async node(nodeId: string, models = "tiny", slots = 8): Promise<Node> {
    const args = [nodeId, models, String(slots)];
    const proc = startProc(fileURLToPath(new URL("./durable-agent.child.ts", import.meta.url)), {
      args,
      env: busVariables(this.#address),
    });
    this.#procs.push(proc);
    await proc.waitForLine(/"ready"/, 30_000);
    const said = () => proc.lines.map((line) => JSON.parse(line) as Said);
    return { nodeId, proc, said, runsOf: (jobId) => said().filter(({ began }) => began === jobId).length };
  }

  /** Everything that the audit stream has, in its order. */
  async events(type: EventType): Promise<{ type: EventType; data: Record<string, unknown>; id: string }[]> {
    const manager = await jetstreamManager(this.bus.nc);
    const stream = this.bus.subjects.auditStream;
    const found: { type: EventType; data: Record<string, unknown>; id: string }[] = [];
    const { state } = await manager.streams.info(stream);
    for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
      const message = await manager.streams.getMessage(stream, { seq });
      const said = message?.header?.get("ce-type").replace("tiermesh.", "");
      if (message === null || said !== type) continue;
      found.push({ type, data: message.json(), id: message.header?.get("ce-id") ?? "" });
    }
    return found;
  }

  /** Resolves when a look at it says so. */
  async until(jobId: string, state: string): Promise<void> {
    await waitFor(async () => {
      const now = (await this.client.jobStatus(jobId)).state;
      if (now !== state) throw new MeshError("internal", `${jobId} is ${now}, not ${state}`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const proc of this.#procs) {
      proc.kill("SIGCONT");
      await proc[Symbol.asyncDispose]();
    }
    await this.client.close();
    await this.server.stop();
    await this.#folder[Symbol.asyncDispose]();
  }
}

/** SEED's policy with these queues; JSON is YAML. */
export function policyText(queues: Queues, retryAttempts = 2): string {
  return JSON.stringify({
    routing_policy: { defaults: { retry_attempts: retryAttempts, max_latency_ms: 60_000 }, task_queues: queues },
  });
}

/** The most runs that went on at once over all nodes is at least what one look at each shows; this is of one node. */
export function mostAtOnce(said: readonly Said[]): number {
  let [now, most] = [0, 0];
  for (const { began, ended } of said) {
    if (began !== undefined) most = Math.max(most, ++now);
    if (ended !== undefined) now--;
  }
  return most;
}
