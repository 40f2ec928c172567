import fc from "fast-check";
import { expect, test } from "vitest";
import { MeshError, NodeRecord, parseOrThrow } from "./index.ts";

/** SEED 节点注册示例, as it stands there. */
const SEED_NODE = `{
  "node_id": "workstation-001",
  "layer": "L1",
  "status": "healthy",
  "hardware": {
    "gpus": [
      {
        "name": "RTX 4090",
        "vram_total_gb": 24,
        "vram_free_gb": 18,
        "utilization": 0.25
      }
    ],
    "cpu_cores": 16,
    "memory_gb": 64,
    "temperature_celsius": 65
  },
  "models": ["llama3.1-8b", "qwen2-7b", "clip-vision"],
  "performance": {
    "avg_latency_ms": 850,
    "tokens_per_second": 45,
    "uptime_hours": 168
  },
  "cost_factor": 0.4,
  "last_heartbeat": "2024-01-15T10:30:00Z"
}`;
const seedNode = () => JSON.parse(SEED_NODE) as Record<string, unknown> & { hardware: Record<string, unknown> };

test("SEED's node registration parses as it stands, and loses nothing", () => {
  expect(NodeRecord.parse(seedNode())).toMatchObject(seedNode());
});

test("what a node does not say is null, not zero", () => {
  const { hardware } = NodeRecord.parse(seedNode());
  expect(hardware.memory_free_gb).toBeNull();
  expect(hardware.gpus[0]).toMatchObject({ temperature_celsius: null, power_watts: null, mig_mode: null });
});

/** The field a lie is refused by. */
function refusedField(lie: (node: ReturnType<typeof seedNode>) => void): string | undefined {
  const node = seedNode();
  lie(node);
  try {
    parseOrThrow(NodeRecord, node);
  } catch (error) {
    return (error as MeshError).field;
  }
  throw new Error("the lie was believed");
}

test("a heartbeat that lies is refused by the name of the field", () => {
  const gpu = { name: "RTX 4090" };
  expect(refusedField((node) => (node.hardware["gpus"] = [{ ...gpu, vram_free_gb: -1 }]))).toBe(
    "hardware.gpus[0].vram_free_gb",
  );
  expect(refusedField((node) => (node.hardware["gpus"] = [{ ...gpu, utilization: 1.5 }]))).toBe(
    "hardware.gpus[0].utilization",
  );
  expect(refusedField((node) => (node.hardware["gpus"] = Array.from({ length: 65 }, () => gpu)))).toBe("hardware.gpus");
  expect(refusedField((node) => (node.hardware["gpus"] = { length: 1e9 }))).toBe("hardware.gpus");
  expect(refusedField((node) => (node.hardware["gpus"] = 1e9))).toBe("hardware.gpus");
  expect(refusedField((node) => (node.hardware["cpu_cores"] = 1e9))).toBe("hardware.cpu_cores");
  expect(refusedField((node) => (node.hardware["memory_gb"] = Number.POSITIVE_INFINITY))).toBe("hardware.memory_gb");
  expect(refusedField((node) => (node.hardware["temperature_celsius"] = Number.NaN))).toBe(
    "hardware.temperature_celsius",
  );
  expect(refusedField((node) => (node["layer"] = "L3"))).toBe("layer");
  expect(refusedField((node) => (node["layer"] = "l1"))).toBe("layer");
  expect(refusedField((node) => (node["node_id"] = "a.b"))).toBe("node_id");
  expect(refusedField((node) => (node["node_id"] = ">"))).toBe("node_id");
  expect(refusedField((node) => (node["status"] = "best"))).toBe("status");
  expect(refusedField((node) => (node["seq"] = -1))).toBe("seq");
  expect(refusedField((node) => (node["cost_factor"] = -0.1))).toBe("cost_factor");
  expect(refusedField((node) => (node["load"] = { slots: -1 }))).toBe("load.slots");
  expect(refusedField((node) => (node["last_heartbeat"] = "yesterday"))).toBe("last_heartbeat");
  expect(refusedField((node) => (node["models"] = Array.from({ length: 2001 }, () => "m")))).toBe("models");
  expect(refusedField((node) => delete node["last_heartbeat"])).toBe("last_heartbeat");
});

test("whatever comes, the answer is a record or a typed error", () => {
  const answer = (value: unknown): unknown => {
    try {
      return parseOrThrow(NodeRecord, value).node_id;
    } catch (error) {
      return error;
    }
  };
  fc.assert(
    fc.property(fc.anything(), fc.anything(), (value, hardware) => {
      for (const candidate of [value, { ...seedNode(), hardware }]) {
        const got = answer(candidate);
        expect(got === "workstation-001" || got instanceof MeshError).toBe(true);
      }
    }),
  );
});
