import { expect, test } from "vitest";
import { fleetOf, lookedAt, nodeRecord, routeRequest } from "../../../test/kit/routing.ts";
import { encryption } from "./encryption.ts";

test("P0 goes only an encrypted way, P1 and P2 any, by SEED's policy", () => {
  const fleet = fleetOf(nodeRecord());
  const open = routeRequest({ encrypted: false, dataClass: "P0" });
  expect(encryption.reject(...lookedAt(fleet, open))).toMatch(/encrypted way/);
  expect(encryption.reject(...lookedAt(fleet, { ...open, encrypted: true }))).toBeUndefined();
  expect(encryption.reject(...lookedAt(fleet, { ...open, dataClass: "P1" }))).toBeUndefined();
});
