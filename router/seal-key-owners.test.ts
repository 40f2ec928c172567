import { expect, test } from "vitest";
import { nodeRecord, routerParts } from "../test/kit/router-parts.ts";

test("a node that announces another live node's key is not heard, until that one is gone", () => {
  const { fleet, join, rejected, bus, parts } = routerParts();
  fleet.start(bus as never, parts.rejections);
  const { seal_keys: stolen } = nodeRecord("n1");
  join(nodeRecord("n1"));
  join(nodeRecord("thief", { seal_keys: stolen }));
  expect(fleet.fleet.view("thief")).toBeUndefined();
  expect(rejected).toMatchObject([{ kind: "heartbeat", error: { code: "forbidden", field: "seal_keys" } }]);
  join(nodeRecord("n1", { seq: 1, status: "leaving" }));
  join(nodeRecord("thief", { seal_keys: stolen }));
  expect(fleet.fleet.view("thief")).toBeDefined();
});
