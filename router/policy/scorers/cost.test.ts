import { expect, test } from "vitest";
import { RoutingConfig } from "../../../bus-schemas/index.ts";
import { fleetOf, lookedAt, nodeRecord, policyOf, routeRequest, servedModel } from "../../../test/kit/routing.ts";
import { wattsAtWork } from "../energy.ts";
import { cost, usdPer1kTokens } from "./cost.ts";

/** At a tariff of nothing. */
const score = (price: number | undefined, cost_factor: number) => {
  const spec = { "qwen2-7b": { layers: ["L1"], cost_per_1k_tokens: price } };
  const { models } = RoutingConfig.parse({ models: price === undefined ? {} : spec });
  return cost.score(
    ...lookedAt(
      fleetOf(nodeRecord({ cost_factor })),
      routeRequest(),
      policyOf({}, models, { electricity_usd_per_kwh: 0 }),
    ),
  );
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

test("the electricity of a job is its node's power over its work, at the tariff", () => {
  const gpus = [{ name: "H20", power_limit_watts: 400 }, { name: "H20", power_limit_watts: 300 }, { name: "?" }];
  const served_models = [servedModel({ prefill_tokens_per_second: 1000, ms_per_token: 20 })];
  const node = (layer: "L1" | "L2") => fleetOf(nodeRecord({ layer, served_models, hardware: { gpus } }));
  const free = RoutingConfig.parse({ models: { "qwen2-7b": { layers: ["L1", "L2"], cost_per_1k_tokens: 0 } } }).models;
  const policy = policyOf({}, free, { electricity_usd_per_kwh: 0.5 });
  const job = routeRequest({ promptTokens: 1000, expectedOutputTokens: 100 });
  const usd = (layer: "L1" | "L2") => usdPer1kTokens(lookedAt(node(layer))[0], job, policy);
  // 400 W for 1 s of prefill and 2 s of writing, for 1.1 thousand tokens.
  const kwh = (400 * 3) / 3.6e6;
  expect(usd("L1")).toBeCloseTo((kwh / 1.1) * 0.5, 12);
  // A provider's price has its electricity in it.
  expect(usd("L2")).toBe(0);
  expect(cost.score(...lookedAt(node("L1"), job, policy))).toBeLessThan(1);
});

test("a machine that does not tell its power has its layer's, and a job of no tokens costs its price", () => {
  expect(wattsAtWork(lookedAt(fleetOf(nodeRecord({ layer: "L0" })))[0])).toBe(120);
  expect(wattsAtWork(lookedAt(fleetOf(nodeRecord()))[0])).toBe(400);
  const [option, , { policy }] = lookedAt(fleetOf(nodeRecord({ cost_factor: 2 })));
  expect(usdPer1kTokens(option, routeRequest({ promptTokens: 0, expectedOutputTokens: 0 }), policy)).toBe(0.6);
});
