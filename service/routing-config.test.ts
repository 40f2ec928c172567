import { readFileSync } from "node:fs";
import path from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { stringify } from "yaml";
import { MeshError } from "../bus-schemas/index.ts";
import { parseRoutingConfig, readRoutingConfig } from "./routing-config.ts";

const deployed = path.join(import.meta.dirname, "..", "deploy", "routing.yaml");

function errorOf(text: string): MeshError {
  try {
    parseRoutingConfig(text, "r.yaml");
  } catch (error) {
    if (error instanceof MeshError) return error;
    throw error;
  }
  throw new Error("it was accepted");
}

test("SEED's two YAML blocks load as they stand", () => {
  const { routing_policy: policy, models } = readRoutingConfig(deployed).config;
  expect(policy.defaults).toEqual({ max_latency_ms: 1500, retry_attempts: 2, fallback_order: ["L0", "L1", "L2"] });
  expect(policy.security.P0).toEqual({
    allowed_layers: ["L0", "L1"],
    forbidden_layers: ["L2"],
    require_encryption: true,
    cloud_if_anonymized: false,
    audit_level: "full",
  });
  expect(policy.security.P1).toMatchObject({ cloud_if_anonymized: true, audit_level: "standard" });
  expect(policy.scoring_weights).toEqual({ security: 0.4, capability: 0.25, latency: 0.2, cost: 0.15 });
  expect(policy.task_queues["media"]).toEqual({
    priority: 60,
    max_concurrency: 16,
    timeout_ms: 30_000,
    batch_window_ms: 5000,
  });
  expect(models["llama3.1-70b"]).toEqual({
    layers: ["L1", "L2"],
    requirements: { vram_gb: 48, context_length: 32_768 },
    capabilities: ["text", "code", "reasoning", "multilingual"],
    cost_per_1k_tokens: 0.6,
  });
  expect(models["claude-3-sonnet"]?.requirements).toEqual({ api_key: true });
});

test("either block alone, or none, takes SEED's values for the rest", () => {
  const [policyBlock = "", modelsBlock = ""] = readFileSync(deployed, "utf8").split(/^(?=# 模型能力注册表)/m);
  const whole = readRoutingConfig(deployed).config;
  expect(parseRoutingConfig(policyBlock, "r.yaml")).toEqual({ ...whole, models: {} });
  expect(parseRoutingConfig(modelsBlock, "r.yaml").models).toEqual(whole.models);
  const empty = parseRoutingConfig("", "r.yaml").routing_policy;
  expect(empty.security).toEqual(whole.routing_policy.security);
  expect(empty.defaults).toEqual(whole.routing_policy.defaults);
});

test("a mistake is told by file, line, field and what was expected", () => {
  const cases: [string, string][] = [
    [
      "routing_policy:\n  defaults:\n    max_latency: 3\n",
      'r.yaml:3: routing_policy.defaults.max_latency: unknown key (did you mean "max_latency_ms"?)',
    ],
    ["# c\nroutng_policy: {}\n", 'r.yaml:2: routng_policy: unknown key (did you mean "routing_policy"?)'],
    [
      "models:\n  m:\n    layers: [L1]\n    requirments: {}\n",
      'r.yaml:4: models.m.requirments: unknown key (did you mean "requirements"?)',
    ],
    [
      "routing_policy:\n  scoring_weights:\n    cost: 0.9\n",
      "r.yaml:2: routing_policy.scoring_weights: the weights sum to 1.75, not 1",
    ],
    ["a: 1\na: 2\n", "r.yaml:2: not YAML: Map keys must be unique"],
  ];
  for (const [text, message] of cases) expect(errorOf(text).message).toContain(message);
  expect(errorOf("routing_policy:\n  security:\n    P0:\n      allowed_layers: [L9]\n").message).toMatch(
    /^r\.yaml:4: routing_policy\.security\.P0\.allowed_layers\[0\]: .*"L0"/,
  );
  expect(errorOf("\n\nrouting_policy:\n  defaults: {retry_attempts: many}\n").message).toMatch(
    /^r\.yaml:4: routing_policy\.defaults\.retry_attempts: .*number/,
  );
  expect(errorOf("models:\n  m: {}\n").message).toMatch(/^r\.yaml:2: models\.m\.layers: /);
  expect(errorOf("- a list\n").message).toMatch(/^r\.yaml:1: the file: .*object/);
  expect(errorOf("a: [\n").message).toMatch(/^r\.yaml:\d: not YAML: /);
  expect(errorOf("routing_policy: {default_level: P7}\n")).toMatchObject({
    code: "bad_config",
    field: "routing_policy.default_level",
  });
});

test("a YAML bomb is refused, not expanded", () => {
  const lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"];
  for (let i = 1; i < 9; i++) lines.push(`a${i}: &a${i} [${Array.from({ length: 9 }, () => `*a${i - 1}`).join(",")}]`);
  expect(errorOf(lines.join("\n")).message).toContain("too many aliases");
});

test("a file that is not there says so and names the variable", () => {
  expect(() => readRoutingConfig("/nowhere/routing.yaml")).toThrow(
    /^\/nowhere\/routing\.yaml: cannot be read; ROUTING_CONFIG_PATH names/,
  );
});

test("whatever the file holds, the answer is a policy or a typed error with a line", () => {
  const texts = fc.oneof(
    fc.string(),
    fc.jsonValue().map((value) => stringify({ routing_policy: value })),
    fc.jsonValue().map((value) => stringify({ models: { m: value } })),
  );
  const messageOf = (text: string): string => {
    try {
      return `r.yaml:0: ${Object.keys(parseRoutingConfig(text, "r.yaml")).join()}`;
    } catch (error) {
      return error instanceof MeshError ? error.message : "not a typed error";
    }
  };
  fc.assert(
    fc.property(texts, (text) => {
      expect(messageOf(text)).toMatch(/^r\.yaml:\d+: \S/);
    }),
  );
});
