import { expect, test } from "vitest";
import { ECHO, fleetOf, NOW_MS, nodeRecord, servedModel } from "../../test/kit/routing.ts";

const names = (fleet: ReturnType<typeof fleetOf>) =>
  [...fleet.options()].map(({ view, served }) => [view.record.node_id, served.name]);

test("nodes are found by layer and by model", () => {
  const a = nodeRecord({ node_id: "a", served_models: [servedModel(), servedModel({ name: "llama3.1-70b" })] });
  const b = nodeRecord({ node_id: "b", layer: "L0" });
  const fleet = fleetOf(a, b);
  expect(fleet.pool("L1", "llama3.1-70b")?.places.map(({ view }) => view.record.node_id)).toEqual(["a"]);
  expect(fleet.pool("L0", undefined)?.places).toHaveLength(1);
  expect(fleet.pool("L2", "qwen2-7b")).toBeUndefined();
  expect([fleet.size, fleet.optionCount]).toEqual([2, 3]);
  expect([fleet.serves("llama3.1-70b"), fleet.serves("gpt-9")]).toEqual([true, false]);
});

test("plain model names, as SEED writes them, are models with everything unknown", () => {
  const fleet = fleetOf(nodeRecord({ served_models: [], models: ["llama3.1-8b", "clip-vision"] }));
  expect(names(fleet)).toEqual([
    ["n1", "llama3.1-8b"],
    ["n1", "clip-vision"],
  ]);
  expect([...fleet.options()][0]?.served).toMatchObject({ loaded: null, context_length: null });
});

test("a heartbeat brings new values in place, forgets what it now knows, and keeps what was learned", () => {
  const fleet = fleetOf(nodeRecord());
  const view = fleet.view("n1");
  Object.assign(view ?? {}, { dispatchedSinceHeartbeat: 3, ownInFlight: 3, correction: 2, gone: true });
  fleet.upsert(
    nodeRecord({ served_models: [servedModel({ ms_per_token: 20 })], load: { slots: 4, running: 3 } }),
    NOW_MS + 1000,
  );
  expect(fleet.view("n1")).toBe(view);
  expect(view).toMatchObject({ dispatchedSinceHeartbeat: 0, ownInFlight: 3, correction: 2, gone: false });
  expect(view?.receivedAtMs).toBe(NOW_MS + 1000);
  expect([...fleet.options()][0]?.served.ms_per_token).toBe(20);
  expect(fleet.pool("L1", "qwen2-7b")?.jobs).toBe(3);
});

test("models and layer may change, and nothing of the old stays", () => {
  const fleet = fleetOf(nodeRecord());
  fleet.upsert(nodeRecord({ layer: "L0", served_models: [servedModel({ name: "new" })] }), NOW_MS);
  expect(names(fleet)).toEqual([["n1", "new"]]);
  expect(fleet.serves("qwen2-7b")).toBe(false);
  fleet.upsert(nodeRecord({ served_models: [] }), NOW_MS);
  expect([fleet.size, fleet.optionCount, names(fleet)]).toEqual([1, 0, []]);
});

test("a removed node is gone from everywhere, and removing it again does nothing", () => {
  const fleet = fleetOf(
    nodeRecord({ node_id: "a" }),
    nodeRecord({ node_id: "b" }),
    nodeRecord({ ...ECHO, node_id: "c" }),
  );
  expect(fleet.hasDiagnostic).toBe(true);
  for (const id of ["a", "c", "a", "nobody"]) fleet.remove(id);
  expect(names(fleet)).toEqual([["b", "qwen2-7b"]]);
  expect([fleet.size, fleet.optionCount, fleet.hasDiagnostic, fleet.view("a")]).toEqual([1, 1, false, undefined]);
  expect(fleet.pool("L1", undefined)?.slots).toBe(4);
});
