import { expect, test } from "vitest";
import { RoutingConfig } from "../../../bus-schemas/index.ts";
import { fleetOf, lookedAt, nodeRecord, policyOf, routeRequest, servedModel } from "../../../test/kit/routing.ts";
import { model } from "./model.ts";

test("only the model that was asked for", () => {
  const fleet = fleetOf(nodeRecord());
  expect(model.reject(...lookedAt(fleet, routeRequest({ model: "llama3.1-70b" })))).toBe("serves qwen2-7b");
  expect(model.reject(...lookedAt(fleet, routeRequest({ model: "qwen2-7b" })))).toBeUndefined();
  expect(model.reject(...lookedAt(fleet))).toBeUndefined();
});

test("a registered model runs only on its registered layers, an unregistered one anywhere", () => {
  const { models } = RoutingConfig.parse({ models: { "claude-3-sonnet": { layers: ["L2"] } } });
  const claude = nodeRecord({ served_models: [servedModel({ name: "claude-3-sonnet" })] });
  const policy = policyOf({}, models);
  expect(model.reject(...lookedAt(fleetOf(claude), routeRequest(), policy))).toMatch(/not allow claude-3-sonnet on L1/);
  expect(model.reject(...lookedAt(fleetOf({ ...claude, layer: "L2" }), routeRequest(), policy))).toBeUndefined();
  expect(model.reject(...lookedAt(fleetOf(nodeRecord()), routeRequest(), policy))).toBeUndefined();
});
