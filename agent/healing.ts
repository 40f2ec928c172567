import { join } from "node:path";
import type { EventPublisher } from "../service/events.ts";
import type { Log } from "../service/log.ts";
import { GpuHealth, type GpuNews } from "./gpu-health/gpu-health.ts";
import { sickGpuOf } from "./gpu-health/runtime-gpus.ts";
import { SickFile } from "./gpu-health/sick-file.ts";
import type { LoadedManners } from "./manners/load.ts";
import type { Probes } from "./probes/start.ts";
import type { RuntimeDesk } from "./runtime-desk.ts";
import { parseLoopbackUrl } from "./runtimes/loopback-http.ts";
import type { RuntimeState } from "./runtimes/runtime.ts";
import { Supervision } from "./supervision/supervision.ts";

export interface HealingParts {
  loaded: Pick<LoadedManners, "managedRuntimes" | "runtimeGpus">;
  nodeId: string;
  /** This node's own folder. */
  nodeDir: string;
  env: NodeJS.ProcessEnv;
  probes: Probes;
  desk: Pick<RuntimeDesk, "update" | "handBack">;
  /** Its jobs run on other machines, whose GPUs are theirs. */
  egress: boolean;
  events: Pick<EventPublisher, "record">;
  /** Tells routers at once. */
  tell: () => void;
  log: Log;
  signal: AbortSignal;
}

/** What the agent does by itself about what is ill on its machine: restarts its runtimes, and keeps sick GPUs out of use. */
export class Healing {
  readonly supervision: Supervision;
  readonly gpus: GpuHealth;
  /** The probes, with what is sick marked in what they see. */
  readonly machine: Pick<Probes, "current" | "onChange" | "first">;
  readonly #parts: HealingParts;
  #told: readonly RuntimeState[] = [];

  constructor(parts: HealingParts) {
    this.#parts = parts;
    const { desk, env, events, loaded, log, nodeDir, nodeId, probes, signal } = parts;
    const onError = (error: unknown) => log.warn({ err: error }, "which GPUs are sick could not be kept in a file");
    this.supervision = new Supervision({
      managed: loaded.managedRuntimes,
      nodeId,
      nodeDir,
      env,
      events,
      handBack: (reason, runtime) => desk.handBack(reason, runtime),
      log,
      signal,
    });
    this.gpus = new GpuHealth({
      file: new SickFile(join(nodeDir, "sick-gpus.json"), onError),
      onNews: (news) => this.#onNews(news),
      log,
      nowMs: () => performance.now(),
    });
    this.machine = {
      current: () => this.gpus.marked(probes.current()),
      onChange: (callback) => probes.onChange(callback),
      first: probes.first,
    };
    probes.onChange(() => this.#look());
  }

  /** Where runtimes are looked for besides the well-known ports: what was named, and what is managed. */
  endpoints(named: readonly string[]): string[] {
    const ports = new Set(named.map((url) => parseLoopbackUrl(url, "runtimes").port));
    return [...named, ...this.supervision.urls.filter((url) => !ports.has(parseLoopbackUrl(url, "url").port))];
  }

  /** The work thread has looked at the runtimes. @returns whether what can be used has changed */
  heard(told: readonly RuntimeState[]): boolean {
    this.#told = told;
    this.supervision.heard(told);
    return this.#show();
  }

  /** Why the whole node can run nothing, or undefined: a sick GPU closes all of its runtimes. */
  get problem(): string | undefined {
    const real = this.#told.filter(({ record }) => !record.diagnostic);
    const closed = real.map((state) => this.#closed(state));
    return closed.length > 0 && closed.every((reason) => reason !== undefined)
      ? `${real[0]?.record.name} ${closed[0]}`.slice(0, 200)
      : undefined;
  }

  /** What they hear of the runtimes: those that a sick GPU closes are ill. */
  #show(): boolean {
    return this.#parts.desk.update(
      this.#told.map((state) => {
        const reason = this.#closed(state);
        return reason === undefined
          ? state
          : { ...state, record: { ...state.record, healthy: false, status_reason: reason } };
      }),
    );
  }

  #closed({ record }: RuntimeState): string | undefined {
    return this.#parts.egress ? undefined : sickGpuOf(record, this.gpus.sick, this.#parts.loaded.runtimeGpus);
  }

  #look(): void {
    const { probes } = this.#parts;
    this.gpus.look({
      hardware: probes.current(),
      faults: probes.faults(),
      complete: probes.complete(),
      blind: probes.problems().some(({ probe }) => probe === "worker"),
    });
  }

  #onNews(news: GpuNews): void {
    const { events, log, nodeId: node_id, tell } = this.#parts;
    this.#show();
    tell();
    try {
      const { gpu, reason } = news;
      if (news.type === "sick")
        events.record("gpu_sick", { node_id, gpu, cause: news.cause, reason: news.reason, xid: news.xid });
      else events.record("gpu_well", { node_id, gpu, by: news.by, reason });
    } catch (error) {
      log.error({ err: error }, "what became of a GPU could not be recorded");
    }
  }
}
