import { join } from "node:path";
import { mkdirSync } from "node:fs";
import { MeshError, type RuntimeRecord } from "../../bus-schemas/index.ts";
import type { EventPublisher } from "../../service/events.ts";
import type { Log } from "../../service/log.ts";
import { within } from "../../service/within.ts";
import { parseLoopbackUrl } from "../runtimes/loopback-http.ts";
import type { RuntimeState } from "../runtimes/runtime.ts";
import { CommandMeans } from "./command.ts";
import { ManagedRuntime, type SupervisionEvent } from "./managed-runtime.ts";
import type { Means } from "./means.ts";
import type { ManagedRuntime as Settings } from "./settings.ts";
import { SystemdUnitMeans } from "./systemd-unit.ts";

/** The runtime that the agent brings with it, kept by embedded-keeper.ts. */
const EMBEDDED = "embedded";

/** Its small model is on the disk already. Milliseconds. */
const EMBEDDED_LIMIT_MS = 120_000;

export interface SupervisionParts {
  managed: Readonly<Record<string, Settings>>;
  nodeId: string;
  /** This node's own folder. */
  nodeDir: string;
  env: NodeJS.ProcessEnv;
  events: Pick<EventPublisher, "record">;
  /** Ends what runs on a runtime, to go on elsewhere, before an operator's restart does. */
  handBack: (reason: string, runtime: string) => void;
  log: Log;
  signal: AbortSignal;
}

interface Kept {
  name: string;
  port: number;
  means: Means;
  runtime: ManagedRuntime;
}

/** The runtimes that this agent keeps answering: those of agent.yaml's `managed_runtimes`, and the embedded one. */
export class Supervision {
  readonly #parts: SupervisionParts;
  readonly #kept: Kept[];
  #seen: readonly RuntimeState[] = [];
  #endEmbedded: (() => void) | undefined;
  /** An operator had the embedded one restarted, and said why. */
  #orderedEmbedded: { reason: string | null; up: PromiseWithResolvers<void> } | undefined;

  constructor(parts: SupervisionParts) {
    this.#parts = parts;
    this.#kept = Object.entries(parts.managed).map(([name, settings]) => this.#keep(name, settings));
  }

  /** Addresses at which they are looked for. */
  get urls(): string[] {
    return Object.values(this.#parts.managed).map(({ url }) => url);
  }

  /** The work thread has looked at the runtimes. */
  heard(seen: readonly RuntimeState[]): void {
    this.#seen = seen;
    for (const { port, runtime } of this.#kept) runtime.heard(seen.some((state) => isWell(state, port)));
  }

  /** The embedded runtime is up, and ends by `end`; undefined = it is gone. */
  embeddedUp(end: (() => void) | undefined): void {
    this.#endEmbedded = end;
  }

  embeddedRestarted(attempt: number): void {
    const ordered = this.#orderedEmbedded;
    this.#orderedEmbedded = undefined;
    ordered?.up.resolve();
    const cause = ordered === undefined ? "exit" : "operator";
    this.#record(EMBEDDED, { type: "restarted", cause, attempt, reason: ordered?.reason ?? null });
  }

  /**
   * Restarts a managed runtime, by the name in agent.yaml or as the node's record has it; its jobs go on elsewhere.
   * @returns when it answers again
   * @throws MeshError `not_supported` for a runtime that is not managed, `not_found` for one that is not there, and what
   * ManagedRuntime.restart throws
   */
  async restart(named: string, reason: string | null): Promise<void> {
    const record = this.#seen.find((state) => state.record.name === named)?.record;
    const kept = this.#keptBy(named);
    if (kept === undefined && named === EMBEDDED && this.#endEmbedded !== undefined) {
      this.#parts.handBack(why(named, reason), EMBEDDED);
      const up = this.#orderedEmbedded?.up ?? Promise.withResolvers<void>();
      this.#orderedEmbedded = { reason, up };
      this.#endEmbedded();
      if (!(await within(up.promise, EMBEDDED_LIMIT_MS)))
        throw new MeshError("runtime_failed", `${named} has not come up again within ${EMBEDDED_LIMIT_MS / 1000} s`);
      return;
    }
    if (kept === undefined) throw this.#unmanaged(named, record);
    const runs = this.#seen.find(({ port }) => port === kept.port)?.record.name;
    if (runs !== undefined) this.#parts.handBack(why(kept.name, reason), runs);
    await kept.runtime.restart(reason);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#kept.map(({ means }) => means.stop()));
  }

  #keptBy(named: string): Kept | undefined {
    const port = this.#seen.find((state) => state.record.name === named)?.port;
    return this.#kept.find((kept) => kept.name === named) ?? this.#kept.find((kept) => kept.port === port);
  }

  #keep(name: string, settings: Settings): Kept {
    const { env, log, nodeDir, signal } = this.#parts;
    const folder = join(nodeDir, "runtimes");
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const { command, unit, user_unit: user } = settings;
    const means =
      command === undefined
        ? new SystemdUnitMeans({ unit: unit ?? "", user: user === true, env })
        : new CommandMeans({
            settings: { ...settings, command },
            pidFile: join(folder, `${name}.pid`),
            env,
            onExit: (how) => runtime.ended(how),
          });
    const runtime: ManagedRuntime = new ManagedRuntime({
      name,
      settings,
      means,
      startsIt: command !== undefined,
      tell: (event) => this.#record(name, event),
      log,
      nowMs: () => performance.now(),
      signal,
    });
    return { name, port: parseLoopbackUrl(settings.url, name).port, means, runtime };
  }

  #record(runtime: string, event: SupervisionEvent): void {
    const { events, log, nodeId: node_id } = this.#parts;
    try {
      const { type, reason } = event;
      if (type === "restarted")
        events.record("runtime_restarted", { node_id, runtime, cause: event.cause, attempt: event.attempt, reason });
      else events.record("runtime_given_up", { node_id, runtime, attempts: event.attempts, reason });
    } catch (error) {
      log.error({ err: error, runtime }, "what became of a runtime could not be recorded");
    }
  }

  #unmanaged(named: string, record: RuntimeRecord | undefined): MeshError {
    const names = [...this.#kept.map(({ name }) => name), ...(this.#endEmbedded === undefined ? [] : [EMBEDDED])];
    if (record !== undefined)
      return new MeshError(
        "not_supported",
        `${named} was not started by this agent; restart it where it was started, or name it in agent.yaml under managed_runtimes`,
        { field: "runtime" },
      );
    return new MeshError(
      "not_found",
      `runtime: this node has no ${named}; it manages ${names.join(", ") || "none (agent.yaml, managed_runtimes)"}`,
      { field: "runtime" },
    );
  }
}

function isWell({ port, record }: RuntimeState, wanted: number): boolean {
  return port === wanted && record.healthy;
}

function why(name: string, reason: string | null): string {
  return `the runtime ${name} is restarted${reason === null ? "" : `: ${reason}`}`;
}
