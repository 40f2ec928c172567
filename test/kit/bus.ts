/**
 * Real nats-servers for tests: `startTestBus()` for a single one, `startTestCluster()` for three.
 * One for each test file, on free ports, with JetStream on a folder of its own, gone after `stop()` or at the end of an
 * `await using` block. With `TIERMESH_TEST_BUS=docker` the same runs in containers (testcontainers).
 */
import { startProcessBus, startProcessCluster } from "./process-bus.ts";

export interface TestBus extends AsyncDisposable {
  /** `nats://host:port`, without credentials. */
  url: string;
  servers: string[];
  /** `http://host:port` of the monitoring endpoint, where the server has one that can be reached. */
  readonly monitorUrl?: string | undefined;
  user: string;
  pass: string;
  /** Kills the server (SIGKILL) and returns when it is gone; its data stays. */
  kill(): Promise<void>;
  /** Starts it again on the same port with the same data; stops it in order first if it still runs. */
  restart(): Promise<void>;
  /** Stops the server in order and removes its data; safe to call twice. */
  stop(): Promise<void>;
}

export interface TestCluster extends AsyncDisposable {
  /** All URLs, separated by commas. */
  url: string;
  servers: string[];
  user: string;
  pass: string;
  /** The servers one by one; `stop()` of one is `stop()` of that one only. */
  nodes: TestBus[];
  stop(): Promise<void>;
}

/** A single server. Its largest message is the product's own (MAX_PAYLOAD_BYTES). */
export async function startTestBus(): Promise<TestBus> {
  return inDocker() ? (await import("./docker-bus.ts")).startDockerBus() : startProcessBus();
}

/** A cluster with JetStream that has elected its leader and knows all its `size` servers, so that replicas can be placed. */
export async function startTestCluster(size = 3): Promise<TestCluster> {
  return inDocker() ? (await import("./docker-bus.ts")).startDockerCluster(size) : startProcessCluster(size);
}

function inDocker(): boolean {
  return process.env["TIERMESH_TEST_BUS"] === "docker";
}
