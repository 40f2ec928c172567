import { randomUUID } from "node:crypto";
import { NatsContainer, type StartedNatsContainer } from "@testcontainers/nats";
import { getContainerRuntimeClient, Network } from "testcontainers";
import { MAX_PAYLOAD_BYTES, PINNED_VERSION } from "../../service/bus-server/index.ts";
import type { TestBus, TestCluster } from "./bus.ts";
import { clusterReady } from "./cluster-ready.ts";
import { freePorts } from "./process-bus.ts";

const IMAGE = `nats:${PINNED_VERSION}-alpine`;
const USER = "tiermesh";
const PORTS = { client: 4222, routes: 6222, monitor: 8222 };
const CONFIG = "/etc/nats/tiermesh.conf";

/** A single nats-server in a container. */
export async function startDockerBus(): Promise<TestBus> {
  return asTestBus(await (await container(randomUUID(), [])).start());
}

/** A cluster of nats-servers in containers on a network of their own. */
export async function startDockerCluster(size: number): Promise<TestCluster> {
  const network = await new Network().start();
  const password = randomUUID();
  const names = Array.from({ length: size }, (_, index) => `n${index + 1}`);
  const routes = names.map((name) => `"nats://${name}:${PORTS.routes}"`).join(", ");
  const results = await Promise.allSettled(
    names.map(async (name) => {
      const cluster = [
        `server_name: ${name}`,
        // Containers' own addresses are of no use to a client outside.
        `cluster { name: test, listen: "0.0.0.0:${PORTS.routes}", no_advertise: true, routes: [${routes}] }`,
      ];
      return (await container(password, cluster)).withNetwork(network).withNetworkAliases(name).start();
    }),
  );
  const containers = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  const nodes = containers.map(asTestBus);
  const stop = async () => {
    await Promise.all(nodes.map((node) => node.stop()));
    await network.stop();
  };
  const failed = results.find((result) => result.status === "rejected");
  try {
    if (failed !== undefined) throw failed.reason;
    const monitors = containers.map((each) => `http://${each.getHost()}:${each.getMappedPort(PORTS.monitor)}`);
    await clusterReady(monitors, size);
  } catch (error) {
    await stop();
    throw error;
  }
  const servers = nodes.map(({ url }) => url);
  return { url: servers.join(","), servers, user: USER, pass: password, nodes, stop, [Symbol.asyncDispose]: stop };
}

async function container(password: string, extra: readonly string[]): Promise<NatsContainer> {
  // A fixed host port, so that a restarted server is found where it was.
  const [host = 0] = await freePorts(1);
  const content = [
    `max_payload: ${MAX_PAYLOAD_BYTES}`,
    `http: "0.0.0.0:${PORTS.monitor}"`,
    `jetstream { store_dir: "/data" }`,
    ...extra,
  ].join("\n");
  return new NatsContainer(IMAGE)
    .withUsername(USER)
    .withPass(password)
    .withArg("--config", CONFIG)
    .withExposedPorts({ container: PORTS.client, host })
    .withCopyContentToContainer([{ content: `${content}\n`, target: CONFIG }]);
}

function asTestBus(started: StartedNatsContainer): TestBus {
  const url = `nats://${started.getHost()}:${started.getMappedPort(PORTS.client)}`;
  const stop = async () => {
    await started.stop();
  };
  return {
    url,
    servers: [url],
    user: USER,
    pass: started.password ?? "",
    kill: async () => {
      const client = await getContainerRuntimeClient();
      const running = client.container.getById(started.getId());
      const gone = running.wait({ condition: "not-running" });
      await running.kill({ signal: "SIGKILL" });
      await gone;
    },
    restart: () => started.restart(),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
