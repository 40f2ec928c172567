import { expect, test } from "vitest";
import { fleetOf, lookedAt, nodeRecord } from "../../../test/kit/routing.ts";
import { state } from "./state.ts";

test("cordoned, draining and leaving nodes take no new jobs and say why", () => {
  for (const status of ["cordoned", "draining", "leaving"] as const) {
    expect(state.reject(...lookedAt(fleetOf(nodeRecord({ status }))))).toBe(`is ${status}`);
  }
  const noted = nodeRecord({ status: "cordoned", status_reason: "new fan" });
  expect(state.reject(...lookedAt(fleetOf(noted)))).toBe("is cordoned: new fan");
  expect(state.reject(...lookedAt(fleetOf(nodeRecord())))).toBeUndefined();
});

test("a node that is gone is not chosen until its next heartbeat", () => {
  const fleet = fleetOf(nodeRecord());
  const view = fleet.view("n1");
  if (view === undefined) throw new Error("not there");
  view.gone = true;
  expect(state.reject(...lookedAt(fleet))).toMatch(/gone/);
  fleet.upsert(nodeRecord(), 0);
  expect(state.reject(...lookedAt(fleet))).toBeUndefined();
});

test("a machine that sleeps is said to sleep, not to be gone", () => {
  const fleet = fleetOf(nodeRecord({ status: "suspended", status_reason: "about to sleep", sleep: {} }));
  const view = fleet.view("n1");
  if (view !== undefined) view.gone = true;
  expect(state.reject(...lookedAt(fleet))).toBe("is asleep");
});
