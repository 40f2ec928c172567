import { expect, test } from "vitest";
import { fleetOf, nodeRecord } from "../../test/kit/routing.ts";
import type { Fleet } from "./fleet.ts";
import { sessionHome } from "./session-home.ts";

const SESSIONS = Array.from({ length: 1000 }, (_, i) => `session-${i}`);
const nodes = (count: number, running = 0) =>
  Array.from({ length: count }, (_, i) =>
    nodeRecord({ node_id: `n${i}`, load: { slots: 4, running, queue_limit: 9 } }),
  );

function homes(fleet: Fleet, fits: (id: string) => boolean = () => true): (string | undefined)[] {
  const pool = fleet.pool("L1", undefined);
  if (pool === undefined) throw new Error("no such pool");
  return SESSIONS.map(
    (id) => sessionHome(id, pool, (place) => fits(place.view.record.node_id), { liveRouters: 1 })?.view.record.node_id,
  );
}

test("routers that heard of the nodes in another order agree", () => {
  expect(homes(fleetOf(...nodes(20)))).toEqual(homes(fleetOf(...nodes(20).toReversed())));
});

test("a node that comes takes only what it will have, one that goes gives up only its own", () => {
  const before = homes(fleetOf(...nodes(20)));
  const after = homes(fleetOf(...nodes(21)));
  const moved = before.filter((home, i) => home !== after[i]);
  expect(moved.length).toBeGreaterThan(10);
  expect(moved.length).toBeLessThan(150);
  expect(after.filter((home, i) => home !== before[i]).every((home) => home === "n20")).toBe(true);
  expect(new Set(before).size).toBe(20);
});

test("a session whose home is unfit moves on, the others stay", () => {
  const fleet = fleetOf(...nodes(20));
  const before = homes(fleet);
  const after = homes(fleet, (id) => id !== "n3");
  expect(after).not.toContain("n3");
  expect(after.filter((home, i) => home !== before[i] && before[i] !== "n3")).toEqual([]);
  expect(homes(fleet, () => false)).toEqual(SESSIONS.map(() => undefined));
});

test("a home with more than 1.25 times the mean load is passed over, one with a free slot is not", () => {
  const busy = (queued: number, running = 4) => [
    ...nodes(19, running),
    nodeRecord({ node_id: "n19", load: { slots: 4, running, queued, queue_limit: 9 } }),
  ];
  // Mean load 1 job a slot: the bound is ceil(1.25 × 4.x) = 6 jobs on four slots.
  expect(homes(fleetOf(...busy(1)))).toContain("n19");
  expect(homes(fleetOf(...busy(2)))).not.toContain("n19");
  const quiet = [...nodes(19), nodeRecord({ node_id: "n19", load: { slots: 4, running: 3 } })];
  expect(homes(fleetOf(...quiet))).toContain("n19");
});

test("what was sent there since its heartbeat counts", () => {
  const fleet = fleetOf(...nodes(20));
  const view = fleet.view("n5");
  if (view !== undefined) view.dispatchedSinceHeartbeat = 4;
  expect(homes(fleet)).not.toContain("n5");
});
