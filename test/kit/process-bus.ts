import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import path from "node:path";
import {
  type ClusterOptions,
  type EmbeddedBus,
  obtainNatsServer,
  PortHeldError,
  startEmbeddedBus,
  type TlsFiles,
} from "../../service/bus-server/index.ts";
import { busFiles } from "../../service/bus-server/server-config.ts";
import type { TestBus, TestCluster } from "./bus.ts";
import { clusterReady } from "./cluster-ready.ts";
import { type TempDir, tempDir } from "./temp-dir.ts";

/** Free ports can be taken by others between our look and the server's; then the cluster starts anew with others. */
const CLUSTER_ATTEMPTS = 3;

interface Plan {
  stateDir: string;
  monitorPort?: number;
  cluster?: ClusterOptions;
  tls?: TlsFiles | undefined;
}

interface Node extends TestBus {
  monitorUrl: string | undefined;
}

let binary: Promise<string> | undefined;

/** The same nats-server that the product would run, found once for each test file. */
function serverBinary(): Promise<string> {
  binary ??= obtainNatsServer({ onProgress: (line) => process.stderr.write(`${line}\n`) }).then(
    ({ path: file }) => file,
  );
  return binary;
}

/** A single nats-server process, with TLS if it is given certificates. */
export async function startProcessBus(tls?: TlsFiles): Promise<TestBus> {
  const folder = tempDir("tiermesh-bus-");
  try {
    return await startNode({ stateDir: folder.path, tls }, folder);
  } catch (error) {
    await folder.remove();
    throw error;
  }
}

/** A cluster of nats-server processes, with TLS if it is given certificates. */
export async function startProcessCluster(size: number, tls?: TlsFiles): Promise<TestCluster> {
  for (let attempt = 1; ; attempt++) {
    const folder = tempDir("tiermesh-cluster-");
    try {
      return await startCluster(size, folder, tls);
    } catch (error) {
      await folder.remove();
      if (!(error instanceof PortHeldError) || attempt === CLUSTER_ATTEMPTS) throw error;
    }
  }
}

async function startCluster(size: number, folder: TempDir, tls: TlsFiles | undefined): Promise<TestCluster> {
  const routePorts = await freePorts(size);
  const routes = routePorts.map((port) => `127.0.0.1:${port}`);
  const plans = routePorts.map((port, index): Plan => {
    const serverName = `n${index + 1}`;
    return {
      stateDir: path.join(folder.path, serverName),
      monitorPort: 0,
      tls,
      cluster: { name: "test", serverName, port, routes },
    };
  });
  // One set of credentials for all, where each server would otherwise make its own.
  const credentials = JSON.stringify({ user: "tiermesh", password: randomUUID() });
  for (const { stateDir } of plans) {
    await mkdir(stateDir, { recursive: true });
    await writeFile(busFiles(stateDir).credentials, credentials, { mode: 0o600 });
  }
  const started = await Promise.allSettled(plans.map((plan) => startNode(plan)));
  const nodes = started.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  const stop = async () => {
    await Promise.all(nodes.map((node) => node.stop()));
    await folder.remove();
  };
  const failed = started.find((result) => result.status === "rejected");
  try {
    if (failed !== undefined) throw failed.reason;
    await clusterReady(
      nodes.flatMap(({ monitorUrl }) => monitorUrl ?? []),
      size,
    );
  } catch (error) {
    await stop();
    throw error;
  }
  const servers = nodes.map(({ url }) => url);
  const { user = "", pass = "" } = nodes[0] ?? {};
  return { url: servers.join(","), servers, user, pass, nodes, stop, [Symbol.asyncDispose]: stop };
}

async function startNode(plan: Plan, folder?: TempDir): Promise<Node> {
  const options = { ...plan, binary: await serverBinary() };
  let bus: EmbeddedBus = await startEmbeddedBus(options);
  const { url, port, user, password } = bus;
  const stop = async () => {
    await bus.stop();
    await folder?.remove();
  };
  return {
    url,
    servers: [url],
    user,
    pass: password,
    get monitorUrl() {
      return bus.monitorUrl;
    },
    kill: async () => {
      process.kill(bus.pid, "SIGKILL");
      await bus.exited;
    },
    restart: async () => {
      await bus.stop();
      bus = await startEmbeddedBus({ ...options, port });
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Ports of loopback that nobody listened on a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  const probes = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(probes.map((probe) => once(probe, "listening")));
  const ports = probes.map((probe) => (probe.address() as AddressInfo).port);
  await Promise.all(probes.map((probe) => once(probe.close(), "close")));
  return ports;
}
