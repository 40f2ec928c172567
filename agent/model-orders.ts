import {
  MeshError,
  type ModelAction,
  type ModelProgress,
  type RuntimeRecord,
  type ServedModel,
} from "../bus-schemas/index.ts";
import type { WorkThread } from "./work/work-thread.ts";

/** Orders carried out at once; each may hold a connection for hours. */
const MAX_ORDERS = 4;

/** What is ordered, and where. */
export interface PlacedOrder {
  action: ModelAction;
  runtime: string;
  /** As that runtime spells it. */
  model: string;
}

export interface ModelOrdersParts {
  work: Pick<WorkThread, "manage" | "cancel">;
  /** The runtimes and models of the node as they are now. */
  fleet: { readonly runtimes: readonly RuntimeRecord[]; readonly models: readonly ServedModel[] };
  /** Why nobody may do that here now, or undefined. */
  notNow: (action: ModelAction) => string | undefined;
}

/** Loads, unloads and downloads models by this node's runtimes, for operators and for the keep-warm list. */
export class ModelOrders {
  readonly #parts: ModelOrdersParts;
  #open = 0;

  constructor(parts: ModelOrdersParts) {
    this.#parts = parts;
  }

  /**
   * Which runtime an order is for: the one that was named, else one that has the model and can do it, else for a download the
   * first that downloads.
   * @throws MeshError `model_not_found`, `not_found` (no such runtime) or `not_supported`, saying what to do;
   * `conflict` when the machine is not to be burdened with it now
   */
  place(action: ModelAction, model: string, named?: string): PlacedOrder {
    const no = this.#parts.notNow(action);
    if (no !== undefined)
      throw new MeshError("conflict", `not now: ${no}; what its owner set is in tiermesh agent status there`, {
        field: "command",
      });
    const runtimes = this.#parts.fleet.runtimes.filter(({ name }) => named === undefined || name === named);
    if (named !== undefined && runtimes.length === 0)
      throw new MeshError("not_found", `runtime: this node has no ${named}; it has ${this.#names()}`, {
        field: "runtime",
      });
    const able = new Set(runtimes.filter(({ manages }) => manages.includes(action)).map(({ name }) => name));
    if (action === "pull") {
      const [runtime] = able.size > 0 ? able : runtimes.map(({ name }) => name);
      if (named === undefined && able.size === 0) throw nothingDownloads();
      return { action, runtime: runtime ?? "", model };
    }
    const among = new Set(runtimes.map(({ name }) => name));
    const served = this.#parts.fleet.models.filter(({ name, runtime }) => among.has(runtime) && isNamed(name, model));
    const best = served.find(({ runtime }) => able.has(runtime)) ?? served[0];
    if (best === undefined)
      throw new MeshError(
        "model_not_found",
        `this node has no model ${model}; tiermesh model list shows what it has, tiermesh model pull gets one`,
        { field: "model" },
      );
    return { action, runtime: best.runtime, model: best.name };
  }

  /**
   * Resolves when the order is carried out.
   * @throws MeshError what the runtime says; `all_busy` while too many are under way; `cancelled` by the signal
   */
  carryOut(
    { action, runtime, model }: PlacedOrder,
    onProgress: (progress: ModelProgress) => void,
    signal: AbortSignal,
  ): Promise<void> {
    if (this.#open >= MAX_ORDERS)
      throw new MeshError("all_busy", `this node has ${MAX_ORDERS} orders about models under way; wait for one to end`);
    const { work } = this.#parts;
    this.#open++;
    return new Promise<void>((resolve, reject) => {
      const onAbort = () => {
        work.cancel(id);
        reject(new MeshError("cancelled", `stopped before ${model} was done`));
      };
      const id = work.manage(
        runtime,
        { action, model },
        {
          onProgress,
          onDone: resolve,
          onFailed: reject,
        },
      );
      signal.addEventListener("abort", onAbort, { once: true });
      if (signal.aborted) onAbort();
    }).finally(() => this.#open--);
  }

  #names(): string {
    return this.#parts.fleet.runtimes.map(({ name }) => name).join(", ") || "none";
  }
}

/** `llama3.2` is Ollama's `llama3.2:latest`. */
export function isNamed(name: string, wanted: string): boolean {
  return name === wanted || name === `${wanted}:latest`;
}

function nothingDownloads(): MeshError {
  const instead =
    "Ollama and LM Studio do; others read what is on disk, such as the Hugging Face cache (hf download MODEL)";
  return new MeshError("not_supported", `no runtime of this node downloads models; ${instead}`, { field: "command" });
}
