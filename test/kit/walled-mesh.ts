import { writeFileSync } from "node:fs";
import path from "node:path";
import { Hardware, MeshError, RoutingConfig, type Layer } from "../../bus-schemas/index.ts";
import { createEgress } from "../../agent/egress/providers.ts";
import { Heartbeat } from "../../agent/heartbeat.ts";
import { Intake } from "../../agent/intake.ts";
import { RuntimeDesk } from "../../agent/runtime-desk.ts";
import type { RuntimeChunk, RuntimeJob } from "../../agent/runtimes/runtime.ts";
import { NodeKeys } from "../../agent/sealing/node-keys.ts";
import { RouterKeys } from "../../agent/sealing/router-keys.ts";
import { SealedIntake } from "../../agent/sealing/sealed-intake.ts";
import { Stance } from "../../agent/stance.ts";
import type { RunHandlers } from "../../agent/work/work-thread.ts";
import { Dispatcher } from "../../router/dispatcher.ts";
import { FleetView } from "../../router/fleet-view.ts";
import { routerMetrics } from "../../router/metrics.ts";
import { compilePolicy } from "../../router/policy/policy.ts";
import { Router } from "../../router/router.ts";
import { Tickets } from "../../router/tickets.ts";
import { connectBus, type BusAddress } from "../../service/bus.ts";
import { EventPublisher } from "../../service/events.ts";
import { newId } from "../../service/ids.ts";
import { createLog } from "../../service/log.ts";
import { startLoop } from "../../service/loop.ts";
import { Metrics } from "../../service/metrics.ts";
import { Rejections } from "../../service/rejections.ts";
import { runtimeState } from "./agent-parts.ts";
import { MODELS, NODES } from "./hostile-jobs.ts";
import { tempDir } from "./temp-dir.ts";
import { waitFor } from "./wait-for.ts";

/**
 * A router, a node at home and an egress node, of the product's own parts and each with a connection of its own, in this
 * process: so that a test can take down what would be a wall between processes.
 */
export interface WalledMesh extends AsyncDisposable {
  /** What a hostile client would have to know of the nodes. */
  nodes: Record<string, { bootId: string; keys: NodeKeys }>;
}

/** What its egress node is in its own eyes, and in its word to others. */
export interface CloudNode {
  /** By this layer its admission and its ears go. */
  believes: Layer;
  /** Layer of its heartbeat. */
  says: Layer;
}

/** Who connects. */
export type Member = "router" | typeof NODES.home | typeof NODES.cloud;

const log = createLog("test", "silent");
const HEARTBEAT_EVERY_MS = 100;
const never = new AbortController().signal;

/**
 * A node that does not hear a subject would count as gone until its next word, and one that refuses much as slow: here the
 * attack on it does not pause.
 */
class TirelessFleet extends FleetView {
  override onGone(nodeId: string): void {
    this.onDone(nodeId);
  }

  override onRefused(): void {}

  override observe(): void {}
}

type Run = (name: string, job: RuntimeJob, signal: AbortSignal) => AsyncIterable<RuntimeChunk>;

/** @param providerUrl where the cloud is */
export async function startWalledMesh(
  addressOf: (member: Member) => BusAddress,
  providerUrl: string,
  { believes, says }: CloudNode,
): Promise<WalledMesh> {
  await using opening = new AsyncDisposableStack();
  const folder = opening.use(tempDir("tiermesh-walls-"));
  const open = async (member: Member) => {
    const bus = await connectBus(member, addressOf(member), log);
    opening.defer(() => bus.drain());
    const events = new EventPublisher(bus, member === "router" ? "router" : "agent", member, log);
    opening.defer(() => events.close(2000));
    const metrics = new Metrics(member);
    const rejections = new Rejections(member === "router" ? "router" : "agent", events, metrics, log);
    opening.defer(() => rejections.close());
    return { bus, events, metrics, rejections };
  };
  type Opened = Awaited<ReturnType<typeof open>>;

  const startNode = async (
    { bus, events, rejections }: Opened,
    nodeId: string,
    layer: Layer,
    believed: Layer,
    run: Run,
  ) => {
    const desk = new RuntimeDesk(() => workBy(run));
    const keys = new NodeKeys(3_600_000);
    await keys.rotate();
    const routers = new RouterKeys(rejections);
    routers.start(bus);
    const bootId = newId();
    const stance = new Stance(path.join(folder.path, `${nodeId}.json`), () => undefined);
    const heartbeat = new Heartbeat({
      bus,
      nodeId,
      bootId,
      sealKeys: () => keys.announced,
      layer,
      costFactor: 0.5,
      stance,
      profile: "server",
      description: { name: null, labels: {} },
      desk,
      hardware: () => Hardware.parse({}),
      log,
    });
    const load = () => desk.load();
    const node = { nodeId, layer: believed, bus, rejections, log, load };
    const intake = new Intake({
      ...node,
      events,
      desk,
      closedBecause: () => undefined,
      onEnded: (job) => desk.release(job),
    });
    intake.start();
    new SealedIntake({ ...node, bootId, keys, routers, intake, nowMs: Date.now }).start();
    await bus.nc.flush();
    const loop = startLoop({ name: "heartbeat", everyMs: HEARTBEAT_EVERY_MS, onError: rethrow }, () =>
      heartbeat.send(),
    );
    opening.defer(() => loop.stop());
    return { desk, bootId, keys };
  };

  const home = await startNode(await open(NODES.home), NODES.home, "L0", "L0", async function* () {
    yield { type: "delta", content: "from home" };
    yield { type: "done", finishReason: "stop", usage: null };
  });
  home.desk.update([runtimeState("at-home", [MODELS.both, MODELS.homeOnly], { slots: 5000 })]);

  const egress = createEgress({
    file: providersFile(folder.path, providerUrl),
    registryPrices: {},
    env: { KEY: "sk-walls" },
    log,
    now: () => performance.now(),
    random: Math.random,
    onChange: () => undefined,
  });
  const { runtimes } = await egress.inspect(never);
  const cloud = await startNode(await open(NODES.cloud), NODES.cloud, says, believes, (name, job, signal) => {
    const runtime = runtimes.get(name)?.runtime;
    if (runtime === undefined) throw new Error(`no runtime ${name}`);
    return runtime.run(job, signal);
  });
  cloud.desk.update(Array.from(runtimes.values(), ({ state }) => state));

  await startRouter(await open("router"));
  const all = opening.move();
  return {
    nodes: { [NODES.home]: home, [NODES.cloud]: cloud },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };

  async function startRouter({ bus, events, metrics, rejections }: Opened): Promise<void> {
    const fleet = new TirelessFleet(events);
    fleet.start(bus, rejections);
    const policy = compilePolicy(
      RoutingConfig.parse({
        routing_policy: {
          defaults: { fallback_order: ["L2", "L0", "L1"] },
          // Nobody is to wait for a place: thousands ask at once, and most of their tickets are never used.
          task_queues: { chat: { priority: 100, max_concurrency: 100_000, timeout_ms: 30_000 } },
        },
      }),
      "walls@1",
    );
    const parts = {
      id: `router-${newId().slice(-8)}`,
      bus,
      fleet,
      events,
      rejections,
      metrics: routerMetrics(metrics),
      log,
      policy: () => policy,
      random: Math.random,
    };
    // Without its sweeps: in a process as busy as a test's, a node that is merely slow would be passed over.
    const dispatcher = new Dispatcher(parts);
    const tickets = new Tickets(parts, dispatcher);
    const router = new Router(parts, dispatcher, tickets);
    await waitFor(() => {
      if (fleet.readyCount < 2) throw new Error("a node is missing");
    });
    dispatcher.start();
    tickets.start();
    router.start();
    const announcing = startLoop({ name: "key", everyMs: 1000, onError: rethrow }, () => tickets.announce());
    opening.defer(() => announcing.stop());
    opening.defer(() => router.stop());
    await bus.nc.flush();
  }
}

/** The work thread's part, in this thread: what runs here can be replaced. */
function workBy(run: Run) {
  const running = new Map<number, AbortController>();
  let count = 0;
  const start = async (
    id: number,
    name: string,
    job: RuntimeJob,
    { onChunk, onFailed }: RunHandlers,
  ): Promise<void> => {
    const abort = new AbortController();
    running.set(id, abort);
    try {
      for await (const chunk of run(name, job, abort.signal)) onChunk(chunk);
    } catch (error) {
      onFailed(MeshError.from(error));
    } finally {
      running.delete(id);
    }
  };
  return {
    run: (name: string, job: RuntimeJob, handlers: RunHandlers) => {
      const id = count++;
      void start(id, name, job, handlers);
      return id;
    },
    cancel: (id: number) => running.get(id)?.abort(),
  };
}

function providersFile(folder: string, url: string): string {
  const file = path.join(folder, "providers.yaml");
  const models = [MODELS.both, MODELS.cloudOnly].map((name) => `{upstream: ${name}, context_length: 1000000}`);
  writeFileSync(
    file,
    `providers: [{name: cloud, kind: openai, base_url: "${url}/v1", key_env: KEY, max_concurrency: 1000, models: [${models.join(", ")}]}]\n`,
  );
  return file;
}

function rethrow(error: unknown): void {
  throw error;
}
