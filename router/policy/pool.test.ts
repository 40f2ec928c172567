import fc from "fast-check";
import { expect, test } from "vitest";
import { LAYERS } from "../../bus-schemas/index.ts";
import { anyRecord, fleetOf, NOW_MS, nodeRecord, seeded } from "../../test/kit/routing.ts";
import { freeWeight } from "./pool.ts";
import { slotsOf, reportedJobs } from "./predict.ts";

test("the weight is the free slots, never none and never without limit", () => {
  expect([freeWeight(4, 1), freeWeight(4, 0)]).toEqual([60, 80]);
  expect(freeWeight(4, 4)).toBe(freeWeight(1, 1_000_000));
  expect(freeWeight(4, 4)).toBeGreaterThan(0);
  expect(freeWeight(1_000_000, 0)).toBe(freeWeight(256, 0));
});

test("after any coming and going the sums are those of the nodes that are there", () => {
  const step = fc.oneof(anyRecord, fc.constantFrom(...Array.from({ length: 30 }, (_, i) => `n${i}`)));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const fleet = fleetOf();
      for (const each of steps) {
        if (typeof each === "string") fleet.remove(each);
        else fleet.upsert(each, NOW_MS);
      }
      for (const layer of LAYERS) {
        const pool = fleet.pool(layer, undefined);
        const views = pool?.places.map(({ view }) => view) ?? [];
        const expected = [...fleet.views].filter(
          ({ record }) => record.layer === layer && record.models.length + record.served_models.length > 0,
        );
        expect(new Set(views)).toEqual(new Set(expected));
        expect(pool?.jobs).toBe(views.reduce((sum, view) => sum + reportedJobs(view), 0));
        expect(pool?.slots).toBe(views.reduce((sum, view) => sum + slotsOf(view), 0));
        const random = seeded(steps.length);
        const drawn = Array.from({ length: 20 }, () => pool?.draw(random)?.view);
        const healthy = views.filter(({ record }) => record.status === "healthy");
        for (const view of drawn) expect(view === undefined ? healthy.length === 0 : healthy.includes(view)).toBe(true);
      }
    }),
  );
});

test("a node that is not healthy is not drawn", () => {
  const pool = fleetOf(nodeRecord({ status: "cordoned" })).pool("L1", undefined);
  expect(pool?.draw(() => 0)).toBeUndefined();
});
