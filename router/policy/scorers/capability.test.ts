import { expect, test } from "vitest";
import type { ServedModel } from "../../../bus-schemas/index.ts";
import { ECHO, fleetOf, lookedAt, nodeRecord, routeRequest, servedModel } from "../../../test/kit/routing.ts";
import type { RouteRequest } from "../types.ts";
import { capability } from "./capability.ts";

const score = (served: Partial<ServedModel>, request: Partial<RouteRequest> = {}) =>
  capability.score(...lookedAt(fleetOf(nodeRecord({ served_models: [servedModel(served)] })), routeRequest(request)));

test("a larger model scores higher when the caller leaves the choice open", () => {
  expect(score({ name: "llama3.1-70b" })).toBeGreaterThan(score({ name: "llama3.1-8b" }));
  expect(score({ name: "llama3.1-8b" })).toBeGreaterThan(score({ name: "gemma3-270m" }));
});

test("a model that the caller named fits", () => {
  expect(score({ name: "gemma3-270m" }, { model: "gemma3-270m" })).toBe(1);
});

test("missing abilities and a tight window cost", () => {
  const wants = { capabilities: ["text", "code"] };
  expect(score({ capabilities: ["text", "code"] }, wants)).toBeGreaterThan(score({ capabilities: ["text"] }, wants));
  const roomy = score({ context_length: 1000 }, { contextTokens: 500 });
  expect(roomy).toBe(score({ context_length: null }, { contextTokens: 500 }));
  expect(roomy).toBeGreaterThan(score({ context_length: 600 }, { contextTokens: 500 }));
});

test("the echo can do nothing", () => {
  expect(capability.score(...lookedAt(fleetOf(nodeRecord(ECHO)), routeRequest({ model: "echo" })))).toBe(0);
});
