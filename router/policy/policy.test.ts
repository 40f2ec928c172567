import { expect, test } from "vitest";
import { MeshError, RoutingConfig } from "../../bus-schemas/index.ts";
import { compilePolicy } from "./policy.ts";

const withWeights = (scoring_weights: object) =>
  compilePolicy(RoutingConfig.parse({ routing_policy: { scoring_weights } }), "r1");

test("SEED's defaults compile", () => {
  const policy = compilePolicy(RoutingConfig.parse({}), "r1");
  expect(policy.revision).toBe("r1");
  expect(policy.layers).toEqual({ any: ["L0", "L1", "L2"], local: ["L0", "L1"] });
});

test("weights that do not sum to 1 are refused by the field's name", () => {
  for (const cost of [0, 0.149, 0.16, 1]) {
    expect(() => withWeights({ cost })).toThrow(MeshError);
    expect(() => withWeights({ cost })).toThrow(/^routing_policy\.scoring_weights: the weights sum to [\d.]+, not 1$/);
  }
  expect(() => withWeights({ cost: 0.15 + 1e-9 })).not.toThrow();
  expect(() => withWeights({ security: 1, capability: 0, latency: 0, cost: 0 })).not.toThrow();
});

test("a layer that is named twice is tried once", () => {
  const config = RoutingConfig.parse({ routing_policy: { defaults: { fallback_order: ["L2", "L1", "L2"] } } });
  expect(compilePolicy(config, "r1").layers).toEqual({ any: ["L2", "L1"], local: ["L1"] });
});
