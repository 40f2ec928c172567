import { expect, test } from "vitest";
import { fleetOf, lookedAt, nodeRecord, routeRequest } from "../../../test/kit/routing.ts";
import { tried } from "./tried.ts";

test("a node that was tried is not asked again", () => {
  const fleet = fleetOf(nodeRecord({ node_id: "n7" }));
  expect(tried.reject(...lookedAt(fleet, routeRequest({ exclude: new Set(["n7"]) })))).toMatch(/tried/);
  expect(tried.reject(...lookedAt(fleet, routeRequest({ exclude: new Set(["n8"]) })))).toBeUndefined();
});
