import { Hardware, type Layer } from "../../../bus-schemas/index.ts";
import { Heartbeat } from "../../../agent/heartbeat.ts";
import { NodeKeys } from "../../../agent/sealing/node-keys.ts";
import { RouterKeys } from "../../../agent/sealing/router-keys.ts";
import { SealedIntake } from "../../../agent/sealing/sealed-intake.ts";
import { Stance } from "../../../agent/stance.ts";
import { EventPublisher } from "../../../service/events.ts";
import { newId } from "../../../service/ids.ts";
import { startLoop } from "../../../service/loop.ts";
import { Rejections } from "../../../service/rejections.ts";
import { serveStructures } from "../../../service/structures-exchange.ts";
import type { Connection } from "../world/connection.ts";
import type { Proc } from "../world/world.ts";
import { Member, quietLog, unreadMetrics, type Surroundings } from "./parts.ts";
import { SimRuntime } from "./runtime.ts";
import { SimSpool } from "./spool.ts";

/** As in agent/main.ts. */
const DRAIN_LIMIT_MS = 7000;
const SEAL_KEY_LOOK_MS = 500;
/** Looking for runtimes takes about so long before the first heartbeat, milliseconds. */
const FIRST_LOOK_MS = 100;

const HARDWARE = Hardware.parse({ cpu_cores: 8, memory_gb: 32 });

export interface NodeSpec {
  layer: Layer;
  slots: number;
  models: readonly string[];
  costFactor: number;
  /** Its runtime goes on with answers that others began. */
  continues: boolean;
}

/** An agent's life: its production parts, wired as agent/main.ts does, over a simulated runtime. */
export class SimAgent extends Member {
  readonly spec: NodeSpec;
  runtime: SimRuntime | undefined;
  /** Its work thread dies; a new one is there after a while, milliseconds. */
  crashWork: (backAfterMs: number) => void = () => undefined;
  #stop: () => Promise<void> = async () => undefined;
  #leftovers: () => string[] = () => [];

  constructor(name: string, around: Surroundings, spec: NodeSpec) {
    super(name, around);
    this.spec = spec;
  }

  protected override live(proc: Proc, connection: Connection): void {
    void this.#run(proc, connection).catch((error: unknown) => this.around.events.onThrow(proc, error, "start"));
  }

  protected override died(): void {
    this.runtime?.die();
  }

  override async stop(): Promise<void> {
    await this.#stop();
    this.runtime?.die();
  }

  override leftovers(): string[] {
    return this.#leftovers();
  }

  async #run(proc: Proc, connection: Connection): Promise<void> {
    const { disk, history, manners, sabotage, world } = this.around;
    const { layer, models, slots, costFactor, continues } = this.spec;
    const nodeId = this.name;
    const log = quietLog(proc, history);
    const bus = sabotage.agentBus(connection.bus);
    serveStructures(bus);
    const spool = sabotage.agentSpool(SimSpool.open(disk, nodeId));
    const events = new EventPublisher(bus, "agent", nodeId, log, spool);
    const rejections = new Rejections("agent", events, unreadMetrics, log);
    const routerKeys = new RouterKeys(rejections);
    routerKeys.start(bus);
    const runtime = new SimRuntime(
      world,
      proc,
      { node: nodeId, layer, boot: this.boot, slots, models, continues },
      manners,
      history,
    );
    this.runtime = runtime;
    const desk = sabotage.runtimeDesk(() => runtime);
    let problem: string | undefined;
    const stance = new Stance("/nonexistent/stance.json", () => problem);
    const bootId = newId();
    const sealKeys = new NodeKeys(24 * 3_600_000);
    await sealKeys.rotate();
    const onError = (error: unknown) => log.error({ err: error }, "a loop failed");
    const rotating = startLoop({ name: "seal keys", everyMs: SEAL_KEY_LOOK_MS, onError }, () => sealKeys.rotate());
    const heartbeat = new Heartbeat({
      bus,
      nodeId,
      bootId,
      sealKeys: () => sealKeys.announced,
      layer,
      costFactor,
      stance,
      profile: "server",
      description: { name: null, labels: {} },
      desk,
      hardware: () => HARDWARE,
      log,
    });
    const intake = sabotage.intake({
      nodeId,
      layer,
      bus,
      events,
      rejections,
      log,
      desk,
      closedBecause: () => stance.closedBecause,
      load: () => desk.load(),
      onEnded: (job, ended) => {
        desk.release(job);
        heartbeat.onEnded(ended);
      },
    });
    const sealed = new SealedIntake({
      nodeId,
      layer,
      bootId,
      bus,
      keys: sealKeys,
      routers: routerKeys,
      intake,
      load: () => desk.load(),
      rejections,
      log,
      nowMs: Date.now,
    });
    let beatNow = () => {};
    const look = (states: typeof runtime.states) => {
      if (desk.update(states)) beatNow();
    };
    this.crashWork = (backAfterMs) => {
      problem = "the work thread does not answer";
      look([]);
      runtime.crash();
      setTimeout(() => {
        problem = undefined;
        look(runtime.states);
      }, backAfterMs);
    };
    this.#leftovers = () => {
      const { running, queued } = desk.load();
      const held = { jobs: intake.jobs.size, running, queued, events: events.pendingCount };
      return Object.entries(held)
        .filter(([, count]) => count > 0)
        .map(([what, count]) => `${what} ${count}`);
    };
    const beating = new AbortController();
    let loop: ReturnType<Heartbeat["start"]> | undefined;
    this.#stop = async () => {
      beatNow = () => {};
      beating.abort();
      await loop?.stop();
      stance.leave();
      heartbeat.send();
      await intake.drain(DRAIN_LIMIT_MS);
      await rotating.stop();
      await rejections.close();
      await events.close();
      await bus.drain();
    };
    await new Promise<void>((resolve) => setTimeout(resolve, FIRST_LOOK_MS));
    look(runtime.states);
    // First the heartbeat with our new boot id, then the ears for jobs.
    loop = heartbeat.start(beating.signal);
    beatNow = () => heartbeat.send();
    intake.start();
    sealed.start();
    for await (const { type } of bus.nc.status()) {
      if (type !== "reconnect") continue;
      beatNow();
      intake.catchUp();
    }
  }
}
