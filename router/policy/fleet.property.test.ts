import fc from "fast-check";
import { expect, test } from "vitest";
import { LAYERS, type Layer, type NodeRecord } from "../../bus-schemas/index.ts";
import { NOW_MS, nodeRecord, seeded, servedModel } from "../../test/kit/routing.ts";
import { Fleet } from "./fleet.ts";
import { freeWeight } from "./pool.ts";

const NODES = ["a", "b", "c", "d", "e", "f"];
const MODELS = ["qwen2-7b", "llama3.1-70b", "clip-vision"];

/** A heartbeat of one of few nodes, so that layers, models and loads of known ones change often; undefined = the node goes. */
const step = fc.record({
  node: fc.constantFrom(...NODES),
  layer: fc.constantFrom(...LAYERS),
  models: fc.subarray(MODELS),
  plain: fc.boolean(),
  status: fc.constantFrom("healthy", "healthy", "cordoned"),
  slots: fc.integer({ min: 1, max: 40 }),
  running: fc.nat(50),
  does: fc.constantFrom("beats", "beats", "says its load", "goes"),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function recordOf({ node, layer, models, plain, status, slots, running }: Step): NodeRecord {
  return nodeRecord({
    node_id: node,
    layer,
    status: status as "healthy",
    ...(plain ? { models, served_models: [] } : { served_models: models.map((name) => servedModel({ name })) }),
    load: { slots, running },
  });
}

const modelsOf = (record: NodeRecord) =>
  record.served_models.length > 0 ? record.served_models.map(({ name }) => name) : record.models;

/** What the pool of this layer and model should hold, by looking through every node. */
function naive(nodes: ReadonlyMap<string, NodeRecord>, layer: Layer, model: string | undefined): NodeRecord[] {
  return [...nodes.values()].filter((record) => {
    const served = modelsOf(record);
    return record.layer === layer && (model === undefined ? served.length > 0 : served.includes(model));
  });
}

test("after any heartbeats and departures each pool holds what looking through all nodes finds", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const fleet = new Fleet();
      const nodes = new Map<string, NodeRecord>();
      for (const each of steps) {
        const known = nodes.get(each.node);
        if (each.does === "goes") {
          fleet.remove(each.node);
          nodes.delete(each.node);
        } else if (each.does === "says its load") {
          const load = {
            slots: each.slots,
            running: each.running,
            queued: 0,
            queue_limit: 0,
            pending_prefill_tokens: 0,
          };
          fleet.updateLoad(each.node, load);
          if (known !== undefined) nodes.set(each.node, { ...known, load });
        } else {
          const record = recordOf(each);
          fleet.upsert(record, NOW_MS);
          nodes.set(each.node, record);
        }
      }
      expect(fleet.size).toBe(nodes.size);
      const options = [...fleet.options()].map(({ view, served }) => `${view.record.node_id} ${served.name}`);
      const all = [...nodes.values()].flatMap((record) => modelsOf(record).map((name) => `${record.node_id} ${name}`));
      expect(options.toSorted()).toEqual(all.toSorted());
      expect(fleet.optionCount).toBe(all.length);
      const everyModel = new Set([...nodes.values()].flatMap(modelsOf));
      expect(MODELS.filter((model) => fleet.serves(model))).toEqual(MODELS.filter((model) => everyModel.has(model)));
      for (const layer of LAYERS)
        for (const model of [undefined, ...MODELS]) {
          const expected = naive(nodes, layer, model);
          const pool = fleet.pool(layer, model);
          const places = pool?.places ?? [];
          expect(places.map(({ view }) => view.record).toSorted(byId)).toEqual(expected.toSorted(byId));
          const names = places.flatMap((place) => place.options.map(({ served }) => served.name));
          expect(names.filter((name) => model !== undefined && name !== model)).toEqual([]);
          expect(pool?.slots ?? 0).toBe(expected.reduce((sum, { load }) => sum + (load?.slots ?? 1), 0));
          expect(pool?.jobs ?? 0).toBe(expected.reduce((sum, { load }) => sum + (load?.running ?? 0), 0));
        }
    }),
    { numRuns: 300 },
  );
});

test("after any changes a pool draws its healthy nodes by their free slots, and no others", () => {
  const rounds = 2000;
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 30 }), fc.integer(), (steps, seed) => {
      const fleet = new Fleet();
      for (const each of steps) {
        if (each.does === "goes") fleet.remove(each.node);
        else fleet.upsert(recordOf({ ...each, layer: "L1", models: MODELS }), NOW_MS);
      }
      const places = fleet.pool("L1", "qwen2-7b")?.places ?? [];
      const weights = new Map(
        places.map(({ view: { record } }) => {
          const weight = freeWeight(record.load?.slots ?? 1, record.load?.running ?? 0);
          return [record.node_id, record.status === "healthy" ? weight : 0];
        }),
      );
      const total = [...weights.values()].reduce((sum, weight) => sum + weight, 0);
      const random = seeded(seed);
      const drawn = new Map<string, number>();
      for (let i = 0; i < rounds; i++) {
        const id = fleet.pool("L1", "qwen2-7b")?.draw(random)?.view.record.node_id ?? "nobody";
        drawn.set(id, (drawn.get(id) ?? 0) + 1);
      }
      for (const [id, weight] of total === 0 ? [["nobody", 1] as const] : weights) {
        const share = weight / Math.max(total, 1);
        // Six standard deviations of a binomial share.
        const slack = 6 * Math.sqrt((share * (1 - share)) / rounds);
        expect(Math.abs((drawn.get(id) ?? 0) / rounds - share)).toBeLessThanOrEqual(slack + 1 / rounds);
      }
    }),
    { numRuns: 50 },
  );
});

function byId(a: NodeRecord, b: NodeRecord): number {
  return a.node_id < b.node_id ? -1 : 1;
}
