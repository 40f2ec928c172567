import { expect, test } from "vitest";
import { parseRoutingConfig } from "../../service/routing-config.ts";
import { changeLine, diffPolicies } from "./diff.ts";

const parse = (text: string) => parseRoutingConfig(text, "p.yaml");

test("settings that change, come and go are told by their paths", () => {
  const from = parse("routing_policy: {defaults: {retry_attempts: 1}}\nmodels: {a: {layers: [L0]}}\n");
  const to = parse("routing_policy: {defaults: {fallback_order: [L1]}}\nmodels: {b: {layers: [L1, L2]}}\n");
  expect(diffPolicies(from, to).map(changeLine).toSorted()).toEqual([
    "+ models.b.capabilities: []",
    "+ models.b.cost_per_1k_tokens: 0",
    '+ models.b.layers: ["L1","L2"]',
    "- models.a.capabilities: []",
    "- models.a.cost_per_1k_tokens: 0",
    '- models.a.layers: ["L0"]',
    '~ routing_policy.defaults.fallback_order: ["L0","L1","L2"] → ["L1"]',
    "~ routing_policy.defaults.retry_attempts: 1 → 2",
  ]);
});

test("comments, order and spelled-out defaults are no difference; a list of machines is looked into", () => {
  expect(diffPolicies(parse(""), parse("# hi\nrouting_policy: {defaults: {retry_attempts: 2}}\n"))).toEqual([]);
  const machines = (count: number) => parse(`deployment: {L1_servers: [{type: s, count: ${count}}]}\n`);
  expect(diffPolicies(machines(1), machines(2))).toEqual([{ path: "deployment.L1_servers[0].count", from: 1, to: 2 }]);
});
