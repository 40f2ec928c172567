import { LAYERS, type Layer, type NodeRecord, type ServedModel } from "../../bus-schemas/index.ts";
import type { NodeView, Option } from "./types.ts";

const NO_OPTIONS: readonly Option[] = [];

/**
 * The nodes of a cell, with an index of options by layer and model, so that a decision looks at a few of them and not at
 * all. The index changes only when a node's models do; its views are updated in place by each heartbeat.
 */
export class Fleet {
  /** Routers that share the jobs, this one included. */
  liveRouters = 1;
  readonly #views = new Map<string, NodeView>();
  readonly #options = new Map<string, { layer: Layer; signature: string; options: Option[] }>();
  /** Key: layer, or layer and model. */
  readonly #index = new Map<string, Option[]>();

  get size(): number {
    return this.#views.size;
  }

  get views(): Iterable<NodeView> {
    return this.#views.values();
  }

  view(nodeId: string): NodeView | undefined {
    return this.#views.get(nodeId);
  }

  /** Takes a heartbeat in. */
  upsert(record: NodeRecord, receivedAtMs: number): NodeView {
    let view = this.#views.get(record.node_id);
    if (view === undefined) {
      view = {
        record,
        receivedAtMs,
        rttMs: 1,
        ownInFlight: 0,
        dispatchedSinceHeartbeat: 0,
        correction: 1,
        correctedAtMs: receivedAtMs,
        gone: false,
      };
      this.#views.set(record.node_id, view);
    } else {
      view.record = record;
      view.receivedAtMs = receivedAtMs;
      view.dispatchedSinceHeartbeat = 0;
      view.gone = false;
    }
    this.#reindex(view);
    return view;
  }

  remove(nodeId: string): void {
    this.#views.delete(nodeId);
    this.#unindex(nodeId);
  }

  /** Options of a layer that serve `model`; all of the layer when it is undefined. */
  options(layer: Layer, model: string | undefined): readonly Option[] {
    return this.#index.get(model === undefined ? layer : `${layer} ${model}`) ?? NO_OPTIONS;
  }

  /** Every option, in the order of layers. */
  *all(): Iterable<Option> {
    for (const layer of LAYERS) yield* this.options(layer, undefined);
  }

  #reindex(view: NodeView): void {
    const { node_id: nodeId, layer } = view.record;
    const served = servedModels(view.record);
    const signature = served.map((model) => `${model.runtime}/${model.name}`).join("\n");
    const known = this.#options.get(nodeId);
    if (known !== undefined && known.layer === layer && known.signature === signature) {
      known.options.forEach((option, i) => {
        option.served = served[i] ?? option.served;
        option.diagnostic = isDiagnostic(view.record, option.served);
      });
      return;
    }
    this.#unindex(nodeId);
    const options = served.map((model): Option => ({
      view,
      served: model,
      layer,
      diagnostic: isDiagnostic(view.record, model),
    }));
    this.#options.set(nodeId, { layer, signature, options });
    for (const option of options) {
      this.#list(layer).push(option);
      this.#list(`${layer} ${option.served.name}`).push(option);
    }
  }

  #unindex(nodeId: string): void {
    const known = this.#options.get(nodeId);
    if (known === undefined) return;
    this.#options.delete(nodeId);
    for (const option of known.options) {
      for (const key of [known.layer, `${known.layer} ${option.served.name}`]) {
        const rest = this.#list(key).filter((other) => other !== option);
        if (rest.length === 0) this.#index.delete(key);
        else this.#index.set(key, rest);
      }
    }
  }

  #list(key: string): Option[] {
    let list = this.#index.get(key);
    if (list === undefined) this.#index.set(key, (list = []));
    return list;
  }
}

/** A node that names models without details, as SEED's registration does, serves them with everything unknown. */
function servedModels(record: NodeRecord): ServedModel[] {
  if (record.served_models.length > 0) return record.served_models;
  return record.models.map((name) => ({
    name,
    runtime: "unknown",
    loaded: null,
    context_length: null,
    capabilities: [],
    size_gb: null,
    prefill_tokens_per_second: null,
    ms_per_token: null,
  }));
}

function isDiagnostic(record: NodeRecord, model: ServedModel): boolean {
  return record.runtimes.some((runtime) => runtime.diagnostic && runtime.name === model.runtime);
}
