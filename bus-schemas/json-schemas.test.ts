import { expect, test } from "vitest";
import { z } from "zod";
import { JobRequest, NodeRecord, PUBLISHED_SCHEMAS, jsonSchema } from "./index.ts";

/** The published JSON Schema of a name, read back as a schema: what a client in another language checks with. */
function published(name: string): z.ZodType {
  const schema = PUBLISHED_SCHEMAS[name];
  if (schema === undefined) throw new Error(`${name} is not published`);
  return z.fromJSONSchema(
    JSON.parse(JSON.stringify(jsonSchema(name, schema))) as Parameters<typeof z.fromJSONSchema>[0],
  );
}

const seedNode = {
  node_id: "workstation-001",
  layer: "L1",
  status: "healthy",
  hardware: {
    gpus: [{ name: "RTX 4090", vram_total_gb: 24, vram_free_gb: 18, utilization: 0.25 }],
    cpu_cores: 16,
    memory_gb: 64,
    temperature_celsius: 65,
  },
  models: ["llama3.1-8b", "qwen2-7b", "clip-vision"],
  performance: { avg_latency_ms: 850, tokens_per_second: 45, uptime_hours: 168 },
  cost_factor: 0.4,
  last_heartbeat: "2024-01-15T10:30:00Z",
};

test("SEED's node and SEED's curl body are valid by the published schemas", () => {
  expect(published("NodeRecord").safeParse(seedNode).error).toBeUndefined();
  expect(published("JobRequest").safeParse({ task_type: "chat", security_level: "P2" }).error).toBeUndefined();
});

test("the published schemas refuse what the mesh refuses", () => {
  const lies = [
    { ...seedNode, layer: "L3" },
    { ...seedNode, hardware: { gpus: [{ name: "x", vram_free_gb: -1 }] } },
    { ...seedNode, hardware: { cpu_cores: 1e9 } },
    { ...seedNode, node_id: "a.b" },
  ];
  for (const lie of lies)
    expect([published("NodeRecord").safeParse(lie).success, NodeRecord.safeParse(lie).success]).toEqual([false, false]);
  const bad = { messages: [{ role: "king", content: "x" }] };
  expect([published("JobRequest").safeParse(bad).success, JobRequest.safeParse(bad).success]).toEqual([false, false]);
});

for (const [name, schema] of Object.entries(PUBLISHED_SCHEMAS)) {
  test(`${name} is published in draft 2020-12 by its own name`, () => {
    expect(jsonSchema(name, schema)).toMatchObject({
      title: name,
      $schema: "https://json-schema.org/draft/2020-12/schema",
    });
    expect(published(name).safeParse(Symbol("garbage")).success).toBe(false);
  });
}
