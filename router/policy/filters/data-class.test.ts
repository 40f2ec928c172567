import { expect, test } from "vitest";
import { DATA_CLASSES, LAYERS, type Layer } from "../../../bus-schemas/index.ts";
import { fleetOf, lookedAt, nodeRecord, policyOf, routeRequest } from "../../../test/kit/routing.ts";
import type { Policy, RouteRequest } from "../types.ts";
import { dataClass } from "./data-class.ts";

const reject = (layer: Layer, request: Partial<RouteRequest>, policy?: Policy) =>
  dataClass.reject(...lookedAt(fleetOf(nodeRecord({ layer })), routeRequest(request), policy));

/** A policy that allows everything everywhere. */
const reckless = () => {
  const all = {
    allowed_layers: [...LAYERS],
    forbidden_layers: [],
    require_encryption: false,
    cloud_if_anonymized: true,
  };
  const rules = { ...all, audit_level: "basic" as const };
  return policyOf({ security: { P0: rules, P1: rules, P2: rules } });
};

test("SEED's table of classes and layers holds", () => {
  const allowed = DATA_CLASSES.map((level) => LAYERS.filter((layer) => !reject(layer, { dataClass: level })));
  expect(allowed).toEqual([
    ["L0", "L1"],
    ["L0", "L1"],
    ["L0", "L1", "L2"],
  ]);
});

test("P1 reaches the cloud anonymised, where the policy lets it", () => {
  expect(reject("L2", { dataClass: "P1" })).toMatch(/only anonymised/);
  expect(reject("L2", { dataClass: "P1", anonymised: true })).toBeUndefined();
  const { P0, P1, P2 } = policyOf().routing.security;
  const strict = policyOf({ security: { P0, P1: { ...P1, cloud_if_anonymized: false }, P2 } });
  expect(reject("L2", { dataClass: "P1", anonymised: true }, strict)).toMatch(/keeps P1 off/);
  const forbidding = policyOf({ security: { P0, P1: { ...P1, forbidden_layers: ["L2"] }, P2 } });
  expect(reject("L2", { dataClass: "P1", anonymised: true }, forbidding)).toMatch(/keeps P1 off/);
});

test("a policy that allows P0 in the cloud, or P1 there as it is, is not obeyed", () => {
  expect(reject("L2", { dataClass: "P0", anonymised: true }, reckless())).toMatch(/P0 never leaves/);
  expect(reject("L2", { dataClass: "P1" }, reckless())).toMatch(/only anonymised/);
});

test("cloud_forbidden keeps every class off L2, and off L2 only", () => {
  const policy = { ...policyOf(), cloudForbidden: true };
  const anonymised = true;
  for (const level of ["P1", "P2"] as const)
    expect(reject("L2", { dataClass: level, anonymised }, policy)).toMatch(/forbids the cloud \(cloud_forbidden\)/);
  expect(reject("L2", { dataClass: "P0" }, policy)).toMatch(/P0 never leaves/);
  for (const level of DATA_CLASSES)
    expect([reject("L0", { dataClass: level }, policy), reject("L1", { dataClass: level }, policy)]).toEqual([
      undefined,
      undefined,
    ]);
});

test("a layer both allowed and forbidden is forbidden, one that is neither is not allowed", () => {
  const { P0, P1, P2 } = policyOf().routing.security;
  const policy = policyOf({ security: { P0, P1, P2: { ...P2, allowed_layers: ["L1"], forbidden_layers: ["L1"] } } });
  expect(reject("L1", {}, policy)).toMatch(/forbids L1/);
  expect(reject("L0", {}, policy)).toMatch(/does not allow L0/);
});
