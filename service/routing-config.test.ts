import { readFileSync } from "node:fs";
import path from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { stringify } from "yaml";
import { MAX_MODELS, MeshError } from "../bus-schemas/index.ts";
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

test("an alias without its anchor is named with its line, and is no YAML bomb", () => {
  expect(() => parseRoutingConfig("models:\n  m: *llama", "r.yaml")).toThrow(
    "r.yaml:2: *llama: no such anchor before it",
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

const examples = path.join(import.meta.dirname, "..", "deploy", "examples");

test("SEED's two deployments load as they stand", () => {
  const { deployment: factory } = readRoutingConfig(path.join(examples, "manufacturer.yaml")).config;
  expect(factory.L0_terminals).toEqual([
    {
      type: "workstation",
      count: 50,
      gpu: "RTX 4060",
      models: ["qwen2-7b", "gpt-oss-20b"],
      use_case: "轻量推理、文档处理",
    },
  ]);
  expect(factory.L1_servers[0]).toMatchObject({ count: 3, gpu: "H20 x4" });
  expect(factory.L2_cloud).toBeUndefined();
  expect(factory.security_policy).toEqual({ default_level: "P1", cloud_forbidden: true, audit_retention_days: 365 });

  const { deployment: studio } = readRoutingConfig(path.join(examples, "software-company.yaml")).config;
  expect(studio.L0_terminals[0]).toMatchObject({ type: "macbook_pro_m3", count: 30, memory: "36GB" });
  expect(studio.L2_cloud).toMatchObject({ providers: ["openai", "anthropic"], models: ["gpt-4o", "claude-3-sonnet"] });
  expect(studio.routing_strategy).toEqual({
    work_hours: "local_preferred",
    off_hours: "cloud_spillover",
    p0_data: "local_only",
    work_schedule: { days: ["mon", "tue", "wed", "thu", "fri"], from: "09:00", to: "18:00", time_zone: "UTC" },
  });
  expect(studio.security_policy.cloud_forbidden).toBe(false);
});

test("a mistake in a deployment, a task's weights or the registry is told by file, line, field and what was expected", () => {
  const deployment = (rest: string) => `deployment:\n  ${rest}\n`;
  const like = (pattern: RegExp): unknown => expect.stringMatching(pattern);
  const cases: [string, unknown][] = [
    [
      deployment("L0_terminals:\n    - type: pc\n      cuont: 50"),
      'r.yaml:4: deployment.L0_terminals[0].cuont: unknown key (did you mean "count"?)',
    ],
    [
      deployment("security_policy:\n    cloud_forbiden: true"),
      'r.yaml:3: deployment.security_policy.cloud_forbiden: unknown key (did you mean "cloud_forbidden"?)',
    ],
    [
      deployment("routing_strategy:\n    off_hours: cloud"),
      like(/^r\.yaml:3: deployment\.routing_strategy\.off_hours: .*"cloud_spillover"/),
    ],
    [deployment("routing_strategy:\n    p0_data: cloud_spillover"), like(/^r\.yaml:3: .*p0_data: .*"local_only"/)],
    [
      deployment("routing_strategy:\n    work_schedule: {time_zone: Mars}"),
      like(/^r\.yaml:3: .*time_zone: an IANA time zone such as "Asia\/Shanghai"/),
    ],
    [
      deployment('L1_servers: [{type: s, count: 1, memory: "much"}]'),
      like(/^r\.yaml:2: .*memory: a size such as "36GB"/),
    ],
    [deployment("L1_servers: [{type: s, count: -1}]"), like(/^r\.yaml:2: deployment\.L1_servers\[0\]\.count: .*>=0/)],
    [
      `routing_policy: {default_level: P2}\n${deployment("security_policy:\n    default_level: P1")}`,
      "r.yaml:4: deployment.security_policy.default_level: P1, but routing_policy.default_level says P2; say it once",
    ],
    [
      "routing_policy:\n  scoring_weights_by_task:\n    chat:\n      cost: 0.5\n",
      "r.yaml:3: routing_policy.scoring_weights_by_task.chat: the weights sum to 1.35, not 1",
    ],
    [
      "routing_policy:\n  scoring_weights_by_task:\n    chta: {}\n",
      'r.yaml:3: routing_policy.scoring_weights_by_task.chta: no task queue of that name (did you mean "chat"?)',
    ],
    [
      "routing_policy:\n  scoring_weights:\n    cost: -0.15\n    security: 0.7\n",
      like(/^r\.yaml:3: routing_policy\.scoring_weights\.cost: .*>=0/),
    ],
    ["models:\n  m: {layers: [L1, L3]}\n", like(/^r\.yaml:2: models\.m\.layers\[1\]: .*"L0"\|"L1"\|"L2"/)],
  ];
  for (const [text, message] of cases) {
    expect(errorOf(text).message).toEqual(message);
  }
});

test("a registry of a million models is refused, by its size or its count", () => {
  const models = (count: number) =>
    `models:\n${Array.from({ length: count }, (_, i) => ` m${i}: {layers: [L1]}`).join("\n")}\n`;
  expect(errorOf(models(1_000_000)).message).toBe("r.yaml: larger than 900000 bytes, which no such file needs to be");
  expect(errorOf(models(MAX_MODELS + 1)).message).toBe(
    `r.yaml:1: models: ${MAX_MODELS + 1} models; at most ${MAX_MODELS} are read`,
  );
});

test("a file that refers to itself is refused", () => {
  for (const text of ["models: &m\n  a: *m\n", "&all\nrouting_policy: *all\n", "models: {a: &a {layers: *a}}\n"])
    expect(errorOf(text).message).toMatch(/^r\.yaml:\d+: \S/);
});
