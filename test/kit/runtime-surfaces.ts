import type { Surface } from "./runtime-surface.ts";
import { PYTHON_SURFACES } from "./runtime-surfaces-python.ts";

/** What each real runtime answers, as its documentation or the runtime itself shows it. For tests; not part of the product. */

const digest = "a80c4f17acd55265feec403c7aef86be0c25983ab279d83f3bcd3abbcb5b8b72";

export const SURFACES: readonly Surface[] = [
  {
    kind: "ollama",
    key: "GET /api/tags",
    model: "llama3.2:latest",
    headers: {},
    routes: {
      "GET /api/version": { version: "0.12.6" },
      "GET /api/tags": {
        models: [
          {
            name: "llama3.2:latest",
            model: "llama3.2:latest",
            modified_at: "2026-05-04T17:37:44.706015396-07:00",
            size: 2019393189,
            digest,
            details: {
              parent_model: "",
              format: "gguf",
              family: "llama",
              families: ["llama"],
              parameter_size: "3.2B",
              quantization_level: "Q4_K_M",
            },
          },
          {
            name: "gpt-oss:120b-cloud",
            model: "gpt-oss:120b-cloud",
            remote_model: "gpt-oss:120b",
            remote_host: "https://ollama.com:443",
            size: 384,
            digest: "c1",
            details: {},
          },
          {
            name: "mine",
            model: "mine",
            remote_model: "",
            remote_host: "https://ollama.com:443",
            size: 384,
            digest: "c2",
            details: {},
          },
          { name: "kimi-k2:1t-cloud", model: "kimi-k2:1t-cloud", size: 384, digest: "c3", details: {} },
        ],
      },
      "GET /api/ps": {
        models: [
          {
            name: "llama3.2:latest",
            model: "llama3.2:latest",
            size: 3_221_225_472,
            digest,
            expires_at: "2026-06-04T14:38:31Z",
            size_vram: 3_221_225_472,
            context_length: 4096,
          },
        ],
      },
      "POST /api/show": {
        capabilities: ["completion", "tools"],
        details: { family: "llama" },
        model_info: { "general.architecture": "llama", "llama.context_length": 131072 },
      },
      "GET /v1/models": {
        object: "list",
        data: [{ id: "llama3.2:latest", object: "model", created: 1, owned_by: "library" }],
      },
    },
  },
  {
    // Recorded from llama.cpp's server in xllamacpp 2026.10.11549.
    kind: "llama-server",
    key: "GET /props",
    model: "gemma3-270m",
    headers: { server: "llama.cpp" },
    routes: {
      "GET /health": { status: "ok" },
      "GET /props": {
        default_generation_settings: { params: { seed: 4294967295, temperature: 0.8 }, n_ctx: 2048 },
        total_slots: 2,
        model_alias: "gemma3-270m",
        model_path: "/models/gemma.gguf",
        modalities: { vision: false, video: false, audio: false },
        chat_template_caps: { supports_tools: true },
        build_info: "b6700-abcdef",
        is_sleeping: false,
      },
      "GET /slots": [
        { id: 0, n_ctx: 2048, speculative: false, is_processing: true },
        { id: 1, n_ctx: 2048, speculative: false, is_processing: false },
      ],
      "GET /v1/models": {
        models: [{ name: "gemma3-270m", model: "gemma3-270m", capabilities: ["completion"] }],
        object: "list",
        data: [
          {
            id: "gemma3-270m",
            object: "model",
            architecture: { input_modalities: ["text"], output_modalities: ["text"] },
            created: 1795446779,
            owned_by: "llamacpp",
            meta: {
              n_vocab: 262144,
              n_ctx: 2048,
              n_ctx_train: 32768,
              n_embd: 640,
              n_params: 268098176,
              size: 246587904,
            },
          },
        ],
      },
    },
  },
  {
    kind: "lm-studio",
    key: "GET /api/v0/models",
    model: "qwen2-vl-7b-instruct",
    headers: {},
    routes: {
      "GET /api/v0/models": {
        object: "list",
        data: [
          {
            id: "qwen2-vl-7b-instruct",
            object: "model",
            type: "vlm",
            publisher: "mlx-community",
            arch: "qwen2_vl",
            compatibility_type: "mlx",
            quantization: "4bit",
            state: "not-loaded",
            max_context_length: 32768,
          },
          {
            id: "meta-llama-3.1-8b-instruct",
            object: "model",
            type: "llm",
            arch: "llama",
            state: "loaded",
            max_context_length: 131072,
            loaded_context_length: 8192,
            capabilities: ["tool_use"],
          },
          {
            id: "text-embedding-nomic-embed-text-v1.5",
            object: "model",
            type: "embeddings",
            arch: "nomic-bert",
            state: "not-loaded",
            max_context_length: 2048,
          },
        ],
      },
      "GET /v1/models": {
        object: "list",
        data: [{ id: "qwen2-vl-7b-instruct", object: "model", owned_by: "organization_owner" }],
      },
      // From 0.4.0 on.
      "GET /api/v1/models": {
        models: [
          {
            type: "llm",
            publisher: "mlx-community",
            key: "qwen2-vl-7b-instruct",
            display_name: "Qwen2 VL 7B Instruct",
            size_bytes: 4_294_967_296,
            loaded_instances: [],
            max_context_length: 32768,
            format: "mlx",
            capabilities: { vision: true, trained_for_tool_use: false },
          },
          {
            type: "llm",
            publisher: "lmstudio-community",
            key: "meta-llama-3.1-8b-instruct",
            size_bytes: 8_589_934_592,
            loaded_instances: [{ id: "meta-llama-3.1-8b-instruct", config: { context_length: 8192 } }],
            max_context_length: 131072,
            format: "gguf",
            capabilities: { vision: false, trained_for_tool_use: true },
          },
        ],
      },
    },
  },
  ...PYTHON_SURFACES,
  {
    kind: "openai-compatible",
    key: "GET /v1/models",
    model: "mistral-small",
    headers: {},
    routes: {
      "GET /v1/models": {
        object: "list",
        data: [{ id: "mistral-small", object: "model", owned_by: "me", context_window: 32000 }],
      },
    },
  },
];
