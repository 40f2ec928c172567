import { LAYERS, type Layer, type Load, type NodeRecord, type ServedModel } from "../../bus-schemas/index.ts";
import { held } from "./hysteresis.ts";
import { Pool } from "./pool.ts";
import { quality } from "./quality.ts";
import type { NodeView, Option } from "./types.ts";

/** A machine that was too hot is spared until it is this much cooler than the limit, degrees Celsius. */
const HEAT_BACKLASH_CELSIUS = 5;

/** A node in the index: where it is listed, and under which models. */
interface Listing {
  layer: Layer;
  /** Changes when the index must. */
  signature: string;
  options: Option[];
}

/** @see Fleet.qualities */
export type Qualities = ReadonlyMap<string, ReadonlyMap<string, number>>;

/**
 * The nodes of a cell, in pools by layer and by layer and model, so that a decision looks at a few of them and not at all.
 * The pools change only when a node's models do; a heartbeat otherwise only updates numbers in place. The order in which
 * nodes came is part of a decision's inputs: a replay feeds them in the same order.
 */
export class Fleet {
  /** Routers that share the jobs, this one included. */
  liveRouters = 1;
  /** Known quality of models, 0 to 1: task type → model → score. Replaced as a whole by whoever follows it. */
  qualities: Qualities = new Map();
  readonly #views = new Map<string, NodeView>();
  readonly #listings = new Map<string, Listing>();
  readonly #layers: Record<Layer, { all: Pool; byModel: Map<string, Pool> }> = {
    L0: { all: new Pool(), byModel: new Map() },
    L1: { all: new Pool(), byModel: new Map() },
    L2: { all: new Pool(), byModel: new Map() },
  };
  /** Nodes with a diagnostic runtime. */
  readonly #diagnostic = new Set<string>();
  #optionCount = 0;

  get size(): number {
    return this.#views.size;
  }

  /** Models on nodes, counted once for each node. */
  get optionCount(): number {
    return this.#optionCount;
  }

  /** Whether any node has a diagnostic echo. */
  get hasDiagnostic(): boolean {
    return this.#diagnostic.size > 0;
  }

  get views(): Iterable<NodeView> {
    return this.#views.values();
  }

  view(nodeId: string): NodeView | undefined {
    return this.#views.get(nodeId);
  }

  /** Takes a heartbeat in. What this router learned of the node since it came stays, but for dispatches it now knows of. */
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
        heldCelsius: heldCelsius(undefined, record),
        gone: false,
        excused: false,
        ejected: undefined,
      };
      this.#views.set(record.node_id, view);
    } else {
      view.record = record;
      view.heldCelsius = heldCelsius(view.heldCelsius, record);
      view.receivedAtMs = receivedAtMs;
      view.dispatchedSinceHeartbeat = 0;
      view.gone = false;
      view.excused = false;
    }
    this.#reindex(view);
    return view;
  }

  /**
   * Takes in a node's word on its load, fresher than its heartbeat.
   * @param onTheWay jobs that were sent there and cannot be in it
   */
  updateLoad(nodeId: string, load: Load, onTheWay = 0): void {
    const view = this.#views.get(nodeId);
    if (view === undefined) return;
    view.record = { ...view.record, load };
    view.dispatchedSinceHeartbeat = onTheWay;
    const listing = this.#listings.get(nodeId);
    if (listing !== undefined) this.#refresh(nodeId, listing);
  }

  remove(nodeId: string): void {
    this.#views.delete(nodeId);
    this.#diagnostic.delete(nodeId);
    this.#unlist(nodeId);
  }

  /** Nodes of a layer that serve `model`; all of the layer when it is undefined. */
  pool(layer: Layer, model: string | undefined): Pool | undefined {
    const { all, byModel } = this.#layers[layer];
    return model === undefined ? all : byModel.get(model);
  }

  /** Whether any node, however it is, says that it serves this model. */
  serves(model: string): boolean {
    return LAYERS.some((layer) => this.#layers[layer].byModel.has(model));
  }

  /** Every option, in the order of layers. */
  *options(): Iterable<Option> {
    for (const layer of LAYERS) for (const place of this.#layers[layer].all.places) yield* place.options;
  }

  #reindex(view: NodeView): void {
    const { node_id: nodeId, layer } = view.record;
    const served = servedModels(view.record);
    const signature = signatureOf(served);
    if (view.record.runtimes.some((runtime) => runtime.diagnostic)) this.#diagnostic.add(nodeId);
    else this.#diagnostic.delete(nodeId);
    const known = this.#listings.get(nodeId);
    if (known === undefined || known.layer !== layer || known.signature !== signature) {
      this.#unlist(nodeId);
      this.#list(view, served, signature);
      return;
    }
    known.options.forEach((option, i) => {
      option.served = served[i] ?? option.served;
      option.diagnostic = isDiagnostic(view.record, option.served);
    });
    this.#refresh(nodeId, known);
  }

  /** Has each pool of a node count it anew. */
  #refresh(nodeId: string, listing: Listing): void {
    const { all, byModel } = this.#layers[listing.layer];
    all.refresh(nodeId);
    for (const name of modelsOf(listing)) byModel.get(name)?.refresh(nodeId);
  }

  #list(view: NodeView, served: readonly ServedModel[], signature: string): void {
    const { node_id: nodeId, layer } = view.record;
    const options = served.map((model): Option => {
      return { view, served: model, layer, diagnostic: isDiagnostic(view.record, model), quality: quality(model.name) };
    });
    const listing = { layer, signature, options };
    this.#listings.set(nodeId, listing);
    this.#optionCount += options.length;
    const { all, byModel } = this.#layers[layer];
    if (options.length > 0) all.add(view, options);
    for (const name of modelsOf(listing)) {
      let pool = byModel.get(name);
      if (pool === undefined) byModel.set(name, (pool = new Pool()));
      pool.add(
        view,
        options.filter((option) => option.served.name === name),
      );
    }
  }

  #unlist(nodeId: string): void {
    const known = this.#listings.get(nodeId);
    if (known === undefined) return;
    this.#listings.delete(nodeId);
    this.#optionCount -= known.options.length;
    const { all, byModel } = this.#layers[known.layer];
    all.remove(nodeId);
    for (const name of modelsOf(known)) {
      const pool = byModel.get(name);
      pool?.remove(nodeId);
      if (pool?.places.length === 0) byModel.delete(name);
    }
  }
}

function heldCelsius(before: NodeView["heldCelsius"] | undefined, { hardware }: NodeRecord): NodeView["heldCelsius"] {
  const { temperature_celsius: cpu, gpus } = hardware;
  return {
    cpu: held(before?.cpu ?? null, cpu, HEAT_BACKLASH_CELSIUS),
    gpus: gpus.map((gpu, i) => held(before?.gpus[i] ?? null, gpu.temperature_celsius, HEAT_BACKLASH_CELSIUS)),
  };
}

function modelsOf({ options }: Listing): Iterable<string> {
  return new Set(options.map((option) => option.served.name));
}

function signatureOf(served: readonly ServedModel[]): string {
  let signature = "";
  for (const { runtime, name } of served) signature += `${runtime}/${name}\n`;
  return signature;
}

/** A node that names models without details, as SEED's registration does, serves them with everything unknown. */
function servedModels(record: NodeRecord): readonly ServedModel[] {
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
    load_gb_per_second: null,
    vram_gb: null,
    digest: null,
  }));
}

function isDiagnostic(record: NodeRecord, model: ServedModel): boolean {
  return record.runtimes.some((runtime) => runtime.diagnostic && runtime.name === model.runtime);
}
