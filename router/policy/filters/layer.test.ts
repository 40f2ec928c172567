import { expect, test } from "vitest";
import { fleetOf, lookedAt, nodeRecord, policyOf, routeRequest } from "../../../test/kit/routing.ts";
import { layer } from "./layer.ts";

const cloud = fleetOf(nodeRecord({ layer: "L2" }));

test("a layer that fallback_order leaves out is not used", () => {
  const defaults = { max_latency_ms: 1500, retry_attempts: 2, fallback_order: ["L0" as const] };
  expect(layer.reject(...lookedAt(cloud, routeRequest(), policyOf({ defaults })))).toMatch(/leaves L2 out/);
  expect(layer.reject(...lookedAt(cloud))).toBeUndefined();
});

test("level one's local residency binds level two: chat records stay local even anonymised", () => {
  const wechat = routeRequest({ taskType: "wechat", dataClass: "P1", anonymised: true });
  expect(layer.reject(...lookedAt(cloud, wechat))).toMatch(/mcp_wechat_local/);
  expect(layer.reject(...lookedAt(cloud, { ...wechat, dataClass: "P2" }))).toBeUndefined();
});

test("it says whether the tool or the time of day keeps the job local", () => {
  const policy = { ...policyOf(), strategyAt: () => "local_only" as const };
  expect(layer.reject(...lookedAt(cloud, routeRequest(), policy))).toMatch(/at this time \(local_only\)/);
  const wechat = routeRequest({ taskType: "wechat", dataClass: "P1", anonymised: true });
  expect(layer.reject(...lookedAt(cloud, wechat, policy))).toMatch(/mcp_wechat_local/);
});
