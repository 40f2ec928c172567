import { MeshError, type Hardware, type RuntimeRecord, type ServedModel } from "../bus-schemas/index.ts";
import type { Log } from "../service/log.ts";
import { isNamed, type ModelOrders } from "./model-orders.ts";
import { lacks } from "./model/room.ts";

/** Pause before a model that is found unloaded again is loaded again, milliseconds; doubles up to the limit. */
const AGAIN_MS = { first: 10_000, limit: 600_000 };
/** A model that stayed loaded for this long starts over with the first pause, milliseconds. */
const STEADY_MS = 600_000;

export interface KeepWarmParts {
  /** Names as an operator wrote them. */
  wanted: readonly string[];
  orders: Pick<ModelOrders, "carryOut">;
  fleet: { readonly runtimes: readonly RuntimeRecord[]; readonly models: readonly ServedModel[] };
  hardware: () => Hardware;
  /** GPU memory that must stay free. */
  reservedGb: number;
  /** Why the node takes no jobs now: then nothing is loaded on it either. */
  closedBecause: () => string | undefined;
  log: Log;
  /** Monotonic, milliseconds. */
  nowMs: () => number;
  signal: AbortSignal;
}

interface Warmth {
  loading: boolean;
  waitMs: number;
  /** Not loaded again before this. */
  notBeforeMs: number;
  loadedSinceMs: number | undefined;
  /** The last that was said of it in the log, which is not said twice. */
  said: string | undefined;
}

/**
 * Keeps the models of a list in memory: loaded at the start, and again when they are found unloaded, where their runtime lets
 * others load and there is room. Somebody at the machine may unload one for a reason, so each time it waits longer.
 */
export class KeepWarm {
  readonly #parts: KeepWarmParts;
  readonly #warmth = new Map<string, Warmth>();

  constructor(parts: KeepWarmParts) {
    this.#parts = parts;
  }

  /** Called whenever the runtimes were looked at. */
  look(): void {
    if (this.#parts.closedBecause() !== undefined) return;
    for (const name of this.#parts.wanted) this.#lookAt(name);
  }

  #lookAt(name: string): void {
    const { fleet, nowMs } = this.#parts;
    const warmth = this.#warmthOf(name);
    const able = new Set(
      fleet.runtimes
        .filter(({ healthy, manages }) => healthy && manages.includes("load"))
        .map(({ name: each }) => each),
    );
    const served = fleet.models.filter((model) => isNamed(model.name, name));
    if (served.length === 0) return this.#say(warmth, `keep warm: no runtime here has ${name} yet`);
    if (served.some(({ loaded }) => loaded === true)) {
      warmth.loadedSinceMs ??= nowMs();
      if (nowMs() - warmth.loadedSinceMs >= STEADY_MS) warmth.waitMs = AGAIN_MS.first;
      return;
    }
    warmth.loadedSinceMs = undefined;
    const model = served.find(({ runtime }) => able.has(runtime));
    if (model === undefined) return this.#say(warmth, `keep warm: the runtime of ${name} lets nobody load its models`);
    if (warmth.loading || nowMs() < warmth.notBeforeMs) return;
    const short = lacks(model, this.#parts.hardware(), this.#parts.reservedGb);
    if (short !== undefined) return this.#say(warmth, `keep warm: ${name} is not loaded, ${short}`);
    void this.#load(warmth, model);
  }

  /** Never throws. */
  async #load(warmth: Warmth, { name, runtime }: ServedModel): Promise<void> {
    const { orders, log, nowMs, signal } = this.#parts;
    warmth.loading = true;
    try {
      await orders.carryOut({ action: "load", runtime, model: name }, () => undefined, signal);
      log.info({ model: name, runtime }, "keep warm: loaded");
      warmth.said = undefined;
    } catch (cause) {
      if (!signal.aborted)
        this.#say(warmth, `keep warm: ${name} could not be loaded: ${MeshError.from(cause).message}`);
    } finally {
      warmth.loading = false;
      warmth.notBeforeMs = nowMs() + warmth.waitMs;
      warmth.waitMs = Math.min(warmth.waitMs * 2, AGAIN_MS.limit);
    }
  }

  #warmthOf(name: string): Warmth {
    let warmth = this.#warmth.get(name);
    if (warmth === undefined) {
      warmth = {
        loading: false,
        waitMs: AGAIN_MS.first,
        notBeforeMs: -Infinity,
        loadedSinceMs: undefined,
        said: undefined,
      };
      this.#warmth.set(name, warmth);
    }
    return warmth;
  }

  #say(warmth: Warmth, line: string): void {
    if (warmth.said === line) return;
    warmth.said = line;
    this.#parts.log.warn(line);
  }
}
