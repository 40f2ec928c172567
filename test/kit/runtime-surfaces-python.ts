import type { ServerResponse } from "node:http";
import type { Surface } from "./runtime-surface.ts";

/** The runtimes written in Python. For tests; not part of the product. */

/** Prometheus' text format. */
const plain =
  (...lines: string[]) =>
  (_request: unknown, response: ServerResponse) =>
    void response.setHeader("content-type", "text/plain; version=0.0.4").end(`${lines.join("\n")}\n`);

export const PYTHON_SURFACES: readonly Surface[] = [
  {
    kind: "vllm",
    key: "GET /v1/models",
    model: "Qwen/Qwen2.5-Coder-7B-Instruct",
    headers: { server: "uvicorn" },
    routes: {
      "GET /version": { version: "0.11.0" },
      "GET /metrics": plain(
        "# HELP vllm:num_requests_running Number of requests in model execution batches.",
        "# TYPE vllm:num_requests_running gauge",
        'vllm:num_requests_running{engine="0",model_name="Qwen/Qwen2.5-Coder-7B-Instruct"} 3.0',
        'vllm:num_requests_running{engine="1",model_name="Qwen/Qwen2.5-Coder-7B-Instruct"} 2.0',
        "# TYPE vllm:num_requests_waiting gauge",
        'vllm:num_requests_waiting{engine="0",model_name="Qwen/Qwen2.5-Coder-7B-Instruct"} 4.0',
        'vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 9.0',
      ),
      "GET /v1/models": {
        object: "list",
        data: [
          {
            id: "Qwen/Qwen2.5-Coder-7B-Instruct",
            object: "model",
            created: 1,
            owned_by: "vllm",
            root: "Qwen/Qwen2.5-Coder-7B-Instruct",
            parent: null,
            max_model_len: 32768,
            permission: [],
          },
          {
            id: "sql-lora",
            object: "model",
            created: 1,
            owned_by: "vllm",
            root: "/lora/sql",
            parent: "Qwen/Qwen2.5-Coder-7B-Instruct",
            max_model_len: null,
            permission: [],
          },
        ],
      },
    },
  },
  {
    kind: "sglang",
    key: "GET /get_model_info",
    model: "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
    headers: { server: "uvicorn" },
    routes: {
      "GET /get_model_info": {
        model_path: "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
        tokenizer_path: "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
        is_generation: true,
      },
      "GET /get_server_info": {
        model_path: "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
        max_running_requests: 24,
        context_length: null,
        version: "0.5.2",
        internal_states: [{ last_gen_throughput: 0 }],
      },
      "GET /metrics": plain(
        'sglang:num_running_reqs{model_name="deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"} 1.0',
        'sglang:num_queue_reqs{model_name="deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"} 0.0',
      ),
      "GET /v1/models": {
        object: "list",
        data: [
          {
            id: "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
            object: "model",
            created: 1,
            owned_by: "sglang",
            root: "x",
            max_model_len: 16384,
          },
        ],
      },
    },
  },
  {
    // xorbitsai/inference, xinference/api/restful_api.py (list_models) and the descriptions of its model families.
    kind: "xinference",
    key: "GET /v1/cluster/version",
    model: "qwen2.5-instruct",
    headers: { server: "uvicorn" },
    routes: {
      "GET /v1/cluster/version": { version: "1.9.0", "full-revisionid": "b0b1e1a9a1f1c1d1e1f101112131415161718191" },
      "GET /v1/cluster/info": [
        { node_type: "Supervisor", ip_address: "127.0.0.1", gpu_count: 0, gpu_vram_total: 0 },
        { node_type: "Worker", ip_address: "127.0.0.1", gpu_count: 2, gpu_vram_total: 51539607552 },
      ],
      "GET /v1/models": {
        object: "list",
        data: [
          {
            id: "qwen2.5-instruct",
            object: "model",
            created: 0,
            owned_by: "xinference",
            model_type: "LLM",
            address: "127.0.0.1:43871",
            accelerators: ["0"],
            model_name: "qwen2.5-instruct",
            model_lang: ["en", "zh"],
            model_ability: ["chat", "tools"],
            model_format: "pytorch",
            model_size_in_billions: 7,
            quantization: "none",
            context_length: 32768,
            replica: 2,
          },
          {
            id: "my-bge",
            object: "model",
            created: 0,
            owned_by: "xinference",
            model_type: "embedding",
            address: "127.0.0.1:43872",
            accelerators: ["1"],
            model_name: "bge-m3",
            dimensions: 1024,
            max_tokens: 8192,
            language: ["zh", "en"],
            replica: 1,
          },
          {
            id: "my-reranker",
            object: "model",
            created: 0,
            owned_by: "xinference",
            model_type: "rerank",
            address: "127.0.0.1:43873",
            accelerators: ["1"],
            model_name: "bge-reranker-v2-m3",
            max_tokens: 1024,
            language: ["zh", "en"],
            replica: 1,
          },
          {
            id: "sdxl",
            object: "model",
            created: 0,
            owned_by: "xinference",
            model_type: "image",
            address: "127.0.0.1:43874",
            model_name: "sdxl-turbo",
            replica: 1,
          },
        ],
      },
    },
  },
  {
    // ml-explore/mlx-lm, mlx_lm/server.py (handle_health_check, handle_models_request); the Server header is Python's http.server's.
    kind: "mlx-server",
    key: "GET /health",
    model: "mlx-community/Qwen3-4B-4bit",
    headers: { server: "BaseHTTP/0.6 Python/3.12.7" },
    routes: {
      "GET /health": { status: "ok" },
      "GET /v1/models": {
        object: "list",
        data: [
          { id: "mlx-community/Qwen3-4B-4bit", object: "model", created: 1760000000 },
          { id: "mlx-community/bge-m3-mlx-fp16", object: "model", created: 1760000000 },
          { id: "/Users/ada/models/Qwen2.5-VL-7B", object: "model", created: 1760000000 },
        ],
      },
    },
  },
];
