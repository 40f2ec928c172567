import { expect, test } from "vitest";
import { fleetOf, lookedAt, NOW_MS, nodeRecord, policyOf, routeRequest } from "../../../test/kit/routing.ts";
import { lease, leaseMs } from "./lease.ts";

const after = (ms: number, interval_ms: number) =>
  lease.reject(...lookedAt(fleetOf(nodeRecord({ interval_ms })), routeRequest(), policyOf(), NOW_MS + ms));

test("three missed heartbeats, and a little, by our own clock", () => {
  expect(after(3180, 1000)).toBeUndefined();
  expect(after(3181, 1000)).toMatch(/last heard 3.2 s ago/);
  expect(after(9000, 5000)).toBeUndefined();
  expect(after(-5000, 1000)).toBeUndefined();
});

test("an interval that nobody would keep is not believed", () => {
  expect(leaseMs(0)).toBe(leaseMs(100));
  expect(leaseMs(2_592_000_000)).toBe(leaseMs(20_000));
  expect(after(70_000, 2_592_000_000)).toMatch(/last heard/);
});

test("silence that was excused does not count, until the node is heard again", () => {
  const fleet = fleetOf(nodeRecord());
  const view = fleet.view("n1");
  if (view === undefined) throw new Error("not there");
  const late = () => lease.reject(...lookedAt(fleet, routeRequest(), policyOf(), NOW_MS + 60_000));
  view.excused = true;
  expect(late()).toBeUndefined();
  fleet.upsert(nodeRecord(), NOW_MS);
  expect(late()).toMatch(/last heard/);
});
