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

test("what was sent there since its last word takes places too, until its next word", () => {
  const load = { slots: 2, running: 2, queue_limit: 2 };
  const fleet = fleetOf(nodeRecord({ load }));
  Object.assign(fleet.view("n1") ?? {}, { ownInFlight: 50, dispatchedSinceHeartbeat: 1 });
  expect(capacity.reject(...lookedAt(fleet))).toBeUndefined();
  Object.assign(fleet.view("n1") ?? {}, { dispatchedSinceHeartbeat: 2 });
  expect(capacity.reject(...lookedAt(fleet))).toBe("is full: 2 running, 0 waiting, 2 slots, 2 sent there since");
  fleet.updateLoad("n1", { slots: 2, running: 2, queued: 1, queue_limit: 2, pending_prefill_tokens: 0 });
  expect(capacity.reject(...lookedAt(fleet))).toBeUndefined();
});
