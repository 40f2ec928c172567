import { MeshError } from "../../bus-schemas/index.ts";
import { MeshClient } from "../../client/index.ts";
import { connectBus, type BusAddress } from "../../service/bus.ts";
import { BASE_ENV, BaseConfig, busAddressOf, loadConfig } from "../../service/config.ts";
import { EventPublisher } from "../../service/events.ts";
import { hostToken } from "../../service/host-token.ts";
import type { Log } from "../../service/log.ts";
import { makeSleepBucket } from "../../service/sleep-bucket.ts";
import { ensureAuditStream, ensureJobStreams, ensureReleaseStream } from "../../service/streams.ts";
import { Broker } from "../bus/broker.ts";
import { busFolder, isLoopback, speaksTls, type BusSettings } from "../bus/bus-settings.ts";
import { serveReleases } from "../bus/release-desk.ts";
import { SHARED_ROLES } from "../bus/bus-users.ts";
import { localAgents } from "./local-nodes.ts";

/** The bus that a mesh runs on, ours or one that is there. */
export interface MeshBus {
  /** For commands and for the mesh itself: an operator, where the bus knows roles. */
  address: BusAddress;
  /** Keys for programs that are none of ours, where the bus knows roles. */
  keyFiles: { tools: string; client: string } | undefined;
  client: MeshClient;
  events: EventPublisher;
  /** How a process of the mesh connects. @param process as the supervisor calls it: router-1, agent, egress, … */
  addressFor(process: string): BusAddress;
  /** Of our own nats-server. */
  pid: number | undefined;
  stop(): Promise<void>;
}

export interface MeshBusOptions {
  env: NodeJS.ProcessEnv;
  stateDir: string;
  /** Of our own bus. */
  bus: BusSettings;
  routingConfig: string;
  egress?: Readonly<Record<string, string>> | undefined;
  log: Log;
  say: (line: string) => void;
}

/**
 * The bus named by `TIERMESH_NATS_URL`, else our own nats-server with a key for each process.
 * @throws MeshError that says what is missing or what holds a port
 */
export function openMeshBus(options: MeshBusOptions, signal: AbortSignal): Promise<MeshBus> {
  const url = options.env["TIERMESH_NATS_URL"];
  return url === undefined || url === "" ? ownBus(options, signal) : externalBus(options, url);
}

async function ownBus(options: MeshBusOptions, signal: AbortSignal): Promise<MeshBus> {
  const { bus: settings, env, stateDir, egress, log, routingConfig, say } = options;
  const folder = busFolder(stateDir);
  const locals = localAgents(env, stateDir, egress);
  const broker = await Broker.start({ env, folder, settings, locals, routingConfig, log, say }, signal);
  const { port, version } = broker.server;
  const where = isLoopback(settings.host) ? "" : ` of ${settings.host}${speaksTls(settings) ? " with TLS" : ""}`;
  say(`bus        nats-server ${version} on port ${port}${where}, data in ${folder}`);
  const address = broker.addressOf("operator");
  try {
    const client = new MeshClient(await connectBus("up", address, log));
    return {
      address,
      keyFiles: { tools: broker.users.keyFile("operator-tools"), client: broker.users.keyFile("client") },
      client,
      events: broker.events,
      addressFor: (process) => {
        const local = locals.find((agent) => agent.process === process);
        if (local !== undefined) return { ...address, nkeyFile: local.nkeyFile };
        const role = SHARED_ROLES.find((each) => each === process.replace(/-\d+$/, ""));
        if (role === undefined) throw new MeshError("internal", `no role for the process ${process}`);
        return broker.addressOf(role);
      },
      get pid() {
        return broker.server.pid;
      },
      stop: async () => {
        await client.close();
        await broker.stop();
      },
    };
  } catch (error) {
    await broker.stop();
    throw error;
  }
}

/** A bus that is there: all processes connect as they were told to, and what they may do is its owner's to say. */
async function externalBus({ bus: settings, env, log, say }: MeshBusOptions, url: string): Promise<MeshBus> {
  const { cell } = settings;
  const address = { ...busAddressOf(loadConfig(BaseConfig, BASE_ENV, { env })), url, cell };
  const bus = await connectBus("up", address, log);
  const client = new MeshClient(bus);
  try {
    if (bus.nc.info?.jetstream !== true)
      throw new MeshError("bad_config", "the bus has no JetStream, which keeps the audit; start nats-server with -js");
    await ensureAuditStream(bus);
    await ensureJobStreams(bus);
    await makeSleepBucket(bus);
    await ensureReleaseStream(bus, say);
    await serveReleases({ bus });
  } catch (error) {
    await client.close();
    throw error;
  }
  const events = new EventPublisher(bus, "keeper", hostToken(), log);
  return {
    address,
    keyFiles: undefined,
    client,
    events,
    addressFor: () => address,
    pid: undefined,
    stop: async () => {
      await events.close(1000);
      await client.close();
    },
  };
}
