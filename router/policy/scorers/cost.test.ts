import { expect, test } from "vitest";
import { RoutingConfig } from "../../../bus-schemas/index.ts";
import { fleetOf, lookedAt, nodeRecord, policyOf, routeRequest } from "../../../test/kit/routing.ts";
import { cost } from "./cost.ts";

const score = (price: number | undefined, cost_factor: number) => {
  const spec = { "qwen2-7b": { layers: ["L1"], cost_per_1k_tokens: price } };
  const { models } = RoutingConfig.parse({ models: price === undefined ? {} : spec });
  return cost.score(...lookedAt(fleetOf(nodeRecord({ cost_factor })), routeRequest(), policyOf({}, models)));
};

test("free is 1, SEED's large local model one half, and the node's factor counts", () => {
  expect(score(0, 1)).toBe(1);
  expect(score(0.6, 1)).toBe(0.5);
  expect(score(3, 1)).toBeCloseTo(1 / 6);
  expect(score(3, 0.2)).toBe(0.5);
});

test("a model that the registry does not know has an assumed price", () => {
  expect(score(undefined, 1)).toBeCloseTo(2 / 3);
});
