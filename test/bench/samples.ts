import { JobResult, NodeRecord, type JobRequestInput, type Layer, type StreamFrame } from "../../bus-schemas/index.ts";

/** Models of the benches' nodes. */
export const MODELS = ["qwen2-7b", "llama3.1-8b", "llama3.1-70b", "deepseek-coder-33b"] as const;

const NOW = "2027-01-15T08:00:00.123Z";

/** A server with two GPUs, two runtimes and six models, as agent/heartbeat.ts sends it: every key, in the schema's order. */
export function busyNode(nodeId: string, seq = 0): NodeRecord {
  const gpu = { name: "NVIDIA RTX 4090", vendor: "nvidia", vram_total_gb: 24, vram_free_gb: 9.4, utilization: 0.62 };
  return NodeRecord.parse({
    node_id: nodeId,
    layer: "L1",
    status: "healthy",
    version: "0.1.0",
    hostname: "gpu-server-07.example",
    boot_id: "01K9ZQ6V3M8N5T2R7W4X1Y0ABC",
    seq,
    hardware: {
      gpus: [gpu, { ...gpu, utilization: 0.11 }],
      cpu_cores: 64,
      cpu_model: "AMD EPYC 7543P",
      cpu_utilization: 0.21,
      memory_gb: 256,
      memory_free_gb: 117.5,
      temperature_celsius: 61,
      disk_free_gb: 812.4,
      platform: "linux",
      arch: "x64",
      sampled_at: { cpu: NOW, memory: NOW, temperature: NOW, gpus: NOW, disk: NOW },
    },
    models: [...MODELS, "bge-m3", "qwen2-vl-7b"],
    served_models: [...MODELS, "bge-m3", "qwen2-vl-7b"].map((name, i) => ({
      name,
      runtime: i < 4 ? "ollama" : "vllm",
      loaded: i < 3,
      context_length: 32_768,
      capabilities: ["text", "chat"],
      size_gb: 4.7 + i,
      prefill_tokens_per_second: 1830.25,
      ms_per_token: 21.4,
    })),
    runtimes: [
      { name: "ollama", kind: "ollama", version: "0.5.7", slots: 4 },
      { name: "vllm", kind: "vllm", version: "0.8.1", slots: 32 },
    ],
    load: { slots: 36, running: 11, queued: 2, queue_limit: 36, pending_prefill_tokens: 5400 },
    performance: { avg_latency_ms: 2140.5, tokens_per_second: 41.7, uptime_hours: 312.25 },
    cost_factor: 0.4,
    last_heartbeat: NOW,
  });
}

/** A node of a fleet: one or two models, one GPU, 60 % busy. */
export function fleetNode(i: number, random: () => number): NodeRecord {
  const layer: Layer = i % 20 === 0 ? "L2" : i % 4 === 0 ? "L1" : "L0";
  const slots = 1 + Math.floor(random() * 8);
  const names = [MODELS[i % 4] ?? "", MODELS[(i + 1 + (i % 2)) % 4] ?? ""].slice(0, 1 + (i % 2));
  return NodeRecord.parse({
    node_id: `node-${i}`,
    layer,
    status: i % 50 === 7 ? "degraded" : "healthy",
    hardware: {
      gpus: [{ name: "RTX 4090", vram_total_gb: 24, vram_free_gb: 18, utilization: 0.25, temperature_celsius: 60 }],
      temperature_celsius: 65,
    },
    models: names,
    served_models: names.map((name) => ({
      name,
      runtime: "ollama",
      loaded: true,
      context_length: 32_768,
      capabilities: ["text", "chat"],
      prefill_tokens_per_second: 500 + random() * 2000,
      ms_per_token: 10 + random() * 40,
    })),
    runtimes: [{ name: "ollama", kind: "ollama" }],
    load: { slots, running: Math.floor(slots * random() * 1.2), queue_limit: slots },
    performance: { avg_latency_ms: 500 + random() * 1500 },
    cost_factor: 0.4,
    last_heartbeat: "2027-01-15T08:00:00Z",
  });
}

/** A chat job with about a kilobyte of prompt. */
export function chatJob(overrides: Partial<JobRequestInput> = {}): JobRequestInput {
  return {
    task_type: "chat",
    security_level: "P2",
    model: MODELS[0],
    messages: [
      { role: "system", content: "You answer briefly and name your sources." },
      { role: "user", content: "What does the maintenance manual say about the coolant pump? ".repeat(15) },
    ],
    max_tokens: 256,
    temperature: 0.7,
    ...overrides,
  };
}

export const DELTA: StreamFrame = { type: "delta", content: " maintenance" };

/** The end of a job that went well. */
export function jobEnd(jobId: string, nodeId: string): JobResult {
  return JobResult.parse({
    job_id: jobId,
    status: "finished",
    security_level: "P2",
    node_id: nodeId,
    layer: "L1",
    model: MODELS[0],
    finish_reason: "stop",
    usage: { prompt_tokens: 310, completion_tokens: 128 },
    timing: { queued_ms: 3, ttft_ms: 140, total_ms: 2870 },
    decision_id: "01K9ZQ6V3M8N5T2R7W4X1Y0ABC",
  });
}
