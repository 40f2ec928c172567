import { expect, test } from "vitest";
import { DATA_CLASSES, LAYERS, type Layer } from "../../../bus-schemas/index.ts";
import { fleetOf, lookedAt, nodeRecord, routeRequest } from "../../../test/kit/routing.ts";
import type { RouteRequest } from "../types.ts";
import { security } from "./security.ts";

const score = (layer: Layer, dataClass: RouteRequest["dataClass"]) =>
  security.score(...lookedAt(fleetOf(nodeRecord({ layer })), routeRequest({ dataClass })));

test("a stricter class never scores higher on a layer that is farther away", () => {
  for (const dataClass of DATA_CLASSES) {
    const scores = LAYERS.map((layer) => score(layer, dataClass));
    expect(scores).toEqual(scores.toSorted((a, b) => b - a));
  }
  for (const layer of LAYERS) {
    const scores = DATA_CLASSES.map((dataClass) => score(layer, dataClass));
    expect(scores).toEqual(scores.toSorted((a, b) => a - b));
  }
});

test("P0 in the cloud is worth nothing", () => {
  expect(score("L2", "P0")).toBe(0);
});
