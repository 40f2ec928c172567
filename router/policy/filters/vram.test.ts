import { expect, test } from "vitest";
import { RoutingConfig } from "../../../bus-schemas/index.ts";
import { fleetOf, lookedAt, nodeRecord, policyOf, routeRequest, servedModel } from "../../../test/kit/routing.ts";
import { vram } from "./vram.ts";

const withGpus = (gb: (number | null)[], loaded: boolean | null = true, layer: "L1" | "L2" = "L1") => {
  const gpus = gb.map((vram_total_gb) => ({ name: "RTX 4090", vram_total_gb }));
  return fleetOf(nodeRecord({ layer, hardware: { gpus }, served_models: [servedModel({ loaded })] }));
};

test("the GPUs together must have what the job asks for", () => {
  expect(vram.reject(...lookedAt(withGpus([24]), routeRequest({ vramGb: 48 })))).toBe(
    "needs 48 GB of GPU memory, has 24",
  );
  expect(vram.reject(...lookedAt(withGpus([24, 24]), routeRequest({ vramGb: 48 })))).toBeUndefined();
  expect(vram.reject(...lookedAt(withGpus([]), routeRequest({ vramGb: 8 })))).toMatch(/has 0/);
  expect(vram.reject(...lookedAt(withGpus([])))).toBeUndefined();
});

test("unknown memory is no obstacle, nor an egress node's own", () => {
  expect(vram.reject(...lookedAt(withGpus([8, null]), routeRequest({ vramGb: 48 })))).toBeUndefined();
  expect(vram.reject(...lookedAt(withGpus([], true, "L2"), routeRequest({ vramGb: 48 })))).toBeUndefined();
});

test("the registry's need counts until the model is loaded", () => {
  const { models } = RoutingConfig.parse({ models: { "qwen2-7b": { layers: ["L1"], requirements: { vram_gb: 48 } } } });
  const policy = policyOf({}, models);
  expect(vram.reject(...lookedAt(withGpus([24], false), routeRequest(), policy))).toMatch(/needs 48/);
  expect(vram.reject(...lookedAt(withGpus([24], true), routeRequest(), policy))).toBeUndefined();
});
