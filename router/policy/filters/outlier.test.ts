import { expect, test } from "vitest";
import { fleetOf, lookedAt, nodeRecord } from "../../../test/kit/routing.ts";
import { outlier } from "./outlier.ts";

test("a node that is spared says why, also after its next heartbeat; any other passes", () => {
  const fleet = fleetOf(nodeRecord());
  expect(outlier.reject(...lookedAt(fleet))).toBeUndefined();
  const view = fleet.view("n1");
  if (view === undefined) throw new Error("not there");
  view.ejected = "failed 5 jobs in a row";
  fleet.upsert(nodeRecord(), 0);
  expect(outlier.reject(...lookedAt(fleet))).toBe("failed 5 jobs in a row");
  const [option, request, context] = lookedAt(fleet);
  expect(outlier.reject(option, { ...request, lastResort: true }, context)).toBeUndefined();
});
