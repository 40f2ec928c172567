import { expect, test } from "vitest";
import { RoutingConfig } from "../../../bus-schemas/index.ts";
import { fleetOf, lookedAt, nodeRecord, policyOf, routeRequest, servedModel } from "../../../test/kit/routing.ts";
import { contextLength } from "./context-length.ts";

const long = routeRequest({ contextTokens: 8193 });
const serving = (context_length: number | null) =>
  fleetOf(nodeRecord({ served_models: [servedModel({ context_length })] }));

test("the job must fit the window, to the token", () => {
  expect(contextLength.reject(...lookedAt(serving(8192), long))).toBe("needs 8193 tokens of context, has 8192");
  expect(contextLength.reject(...lookedAt(serving(8193), long))).toBeUndefined();
});

test("an unknown window is the registry's, and without one no obstacle", () => {
  const requirements = { context_length: 8192 };
  const { models } = RoutingConfig.parse({ models: { "qwen2-7b": { layers: ["L1"], requirements } } });
  expect(contextLength.reject(...lookedAt(serving(null), long))).toBeUndefined();
  expect(contextLength.reject(...lookedAt(serving(null), long, policyOf({}, models)))).toMatch(/has 8192/);
});
