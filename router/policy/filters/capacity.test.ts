import { expect, test } from "vitest";
import { fleetOf, lookedAt, nodeRecord } from "../../../test/kit/routing.ts";
import { capacity } from "./capacity.ts";

test("a node is full when it says so itself: every slot and every waiting place", () => {
  const load = { slots: 2, running: 2, queued: 3, queue_limit: 4 };
  expect(capacity.reject(...lookedAt(fleetOf(nodeRecord({ load }))))).toBeUndefined();
  const full = { ...load, queued: 4 };
  expect(capacity.reject(...lookedAt(fleetOf(nodeRecord({ load: full }))))).toBe(
    "is full: 2 running, 4 waiting, 2 slots",
  );
  expect(capacity.reject(...lookedAt(fleetOf(nodeRecord({ load: null }))))).toBeUndefined();
});

test("what this router only guesses does not make a node full", () => {
  const fleet = fleetOf(nodeRecord({ load: { slots: 1 } }));
  Object.assign(fleet.view("n1") ?? {}, { ownInFlight: 50, dispatchedSinceHeartbeat: 50 });
  expect(capacity.reject(...lookedAt(fleet))).toBeUndefined();
});
