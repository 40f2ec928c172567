import { join } from "node:path";
import { basename } from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import { connectBus, type Bus, type BusAddress } from "../../service/bus.ts";
import { EventPublisher } from "../../service/events.ts";
import { hostToken } from "../../service/host-token.ts";
import type { Log } from "../../service/log.ts";
import { Metrics } from "../../service/metrics.ts";
import { PolicyBucket } from "../../service/policy-bucket.ts";
import { QualityBucket } from "../../service/quality-bucket.ts";
import { Rejections } from "../../service/rejections.ts";
import { readRoutingConfig } from "../../service/routing-config.ts";
import { ensureAuditStream } from "../../service/streams.ts";
import { BusKeeper } from "./bus-keeper.ts";
import { BusUsers, type LocalNode } from "./bus-users.ts";
import { NodesBucket } from "./nodes-bucket.ts";
import { Registrar } from "./registrar.ts";

export interface BrokerOptions {
  env: NodeJS.ProcessEnv;
  /** The bus's own folder: configuration, data, keys. */
  folder: string;
  cell: string;
  host: string;
  port: number;
  /** Addresses that other machines are told to join by; by default the one that the server listens on. */
  urls?: readonly string[];
  /** Nodes of this machine. */
  locals: readonly LocalNode[];
  /** File of a bus's first routing policy. */
  routingConfig: string;
  log: Log;
  /** A line for people. */
  say: (line: string) => void;
}

/**
 * The broker as a company runs it: a nats-server that knows each role by its key and permits it no more than it needs
 * (ADR 0013), the streams of the mesh, and the registrar beside it, who lets nodes in and out.
 */
export class Broker {
  readonly users: BusUsers;
  /** The keeper's own connection. */
  readonly bus: Bus;
  readonly events: EventPublisher;
  readonly #server: BusKeeper;
  readonly #rejections: Rejections;
  readonly #registrar: Registrar;

  private constructor(
    users: BusUsers,
    server: BusKeeper,
    bus: Bus,
    parts: Pick<Broker, "events"> & { rejections: Rejections; registrar: Registrar },
  ) {
    this.users = users;
    this.#server = server;
    this.bus = bus;
    this.events = parts.events;
    this.#rejections = parts.rejections;
    this.#registrar = parts.registrar;
  }

  /** @throws MeshError that says what holds a port or the folder, or why the server does not come up */
  static async start(options: BrokerOptions, signal: AbortSignal): Promise<Broker> {
    const { cell, env, folder, host, locals, log, port, say } = options;
    const users = new BusUsers(folder, cell, locals);
    let accounts = users.render(users.lastEntries(), Date.now());
    const server = await BusKeeper.start(
      {
        env,
        stateDir: folder,
        host,
        port,
        accounts: () => accounts,
        onProgress: say,
        onRestart: (exit) => say(`nats-server ended (${exit}); starting it again`),
      },
      signal,
    );
    let bus: Bus | undefined;
    try {
      bus = await connectBus("keeper", { url: server.bus.url, nkeyFile: users.keyFile("keeper"), cell }, log);
      await makeStreams(bus, options);
      const events = new EventPublisher(bus, "keeper", hostToken(), log);
      const rejections = new Rejections("keeper", events, new Metrics("keeper"), log);
      const setAccounts = async (text: string) => {
        accounts = text;
        await server.bus.setAccounts(text);
      };
      const urls = options.urls ?? [server.bus.url];
      const bucket = await NodesBucket.open(bus);
      const parts = { bus, bucket, users, setAccounts, urls, caPem: null, events, rejections, log, nowMs: Date.now };
      const registrar = new Registrar(parts);
      await registrar.start();
      return new Broker(users, server, bus, { events, rejections, registrar });
    } catch (error) {
      await bus?.drain();
      await server.stop();
      throw error;
    }
  }

  /** How a process of this role connects. */
  addressOf(role: Parameters<BusUsers["keyFile"]>[0]): BusAddress & { nkeyFile: string } {
    return {
      url: this.#server.bus.url,
      nkeyFile: this.users.keyFile(role),
      cell: this.bus.subjects.prefix.slice("mesh.".length),
    };
  }

  get server(): Pick<BusKeeper["bus"], "pid" | "port" | "url" | "version"> {
    return this.#server.bus;
  }

  async stop(): Promise<void> {
    await this.#registrar.stop();
    await this.#rejections.close();
    await this.events.close(1000);
    await this.bus.drain();
    await this.#server.stop();
  }
}

/** What the mesh keeps on the bus. The keeper alone may make streams; all others find them. */
async function makeStreams(bus: Bus, { routingConfig, log }: BrokerOptions): Promise<void> {
  if (bus.nc.info?.jetstream !== true)
    throw new MeshError("bad_config", "nats-server runs without JetStream, which keeps the audit");
  await ensureAuditStream(bus);
  await QualityBucket.make(bus);
  const policy = await PolicyBucket.open(bus);
  if ((await policy.state()) !== undefined) return;
  const { text } = readRoutingConfig(routingConfig);
  const note = `first policy, from ${basename(routingConfig)}`;
  await policy.put(text, { by: "keeper", note, after: 0 }).catch((error: unknown) => {
    // Another server's keeper was first.
    log.info({ err: error }, "the policy bucket was filled by somebody else");
  });
}

/** Where a bus's folder is, below the state folder. */
export function busFolder(stateDir: string): string {
  return join(stateDir, "bus");
}
