import { EmbeddedError } from "./errors.ts";

/** Compute layers with a prebuilt binary. Metal is part of the one package for Apple silicon. */
export type LlamaAccelerator = "cpu" | "cuda" | "vulkan" | "metal";

export interface LlamaBinary {
  /** Name below `@node-llama-cpp/`, also the folder it is cached in. */
  name: string;
  accelerator: LlamaAccelerator;
  /** npm's integrity of the tarball; those not on the registry that this table was made from are checked by npm against the registry's own. */
  integrity?: string;
}

export const LLAMA_VERSION = "3.22.1";

/**
 * Platform → prebuilt packages of node-llama-cpp 3.22.1, from its `optionalDependencies` and the loader in
 * `dist/bindings/utils/compileLLamaCpp.js`. `-cuda-ext` only adds other CUDA versions and is left out.
 */
const BINARIES: Readonly<Record<string, readonly LlamaBinary[]>> = {
  "linux-x64": [
    {
      name: "linux-x64",
      accelerator: "cpu",
      integrity: "sha512-5uCCDNqWCNfaAm8aR/Uzxbo4HBpKgNF91kCHPepKhgMgV2OAmatoefbOlMihsqCiH2Od35E/eUHQCFbfRBJuOg==",
    },
    {
      name: "linux-x64-cuda",
      accelerator: "cuda",
      integrity: "sha512-8rQCjyNNLZJUFit+YpjwlC4hwkKgOMIkB2wuycKBf8NU2O3ySKbiWZQ8aw9ku2nUTXjSnUIrE6KB88itduTBuA==",
    },
    {
      name: "linux-x64-vulkan",
      accelerator: "vulkan",
      integrity: "sha512-bBxqU+JOcBu1nb5Qj2zcMci+JByT1E8EajHvYodyNfVIPkEhXh+/HMwR1/BT7xP08YK0hks+kM8fglER0P8JEg==",
    },
  ],
  "linux-arm64": [
    {
      name: "linux-arm64",
      accelerator: "cpu",
      integrity: "sha512-W+7naKCXX9/eEjjFmRS8vvx91QyLXDbeFxexZc3bh/PtQABZgmRL3C0AtYYXn4YGTj/3Qor4lWZn2tpjZFPLdQ==",
    },
  ],
  "linux-arm": [
    {
      name: "linux-armv7l",
      accelerator: "cpu",
      integrity: "sha512-v/pHg4BcQHRDna+YYq4vWp44HCFluar4hAiB732Pa5PF89flMXhHSku68tQn+25RJjuc3TtoeY/i57WnX9GrdQ==",
    },
  ],
  "linux-riscv64": [{ name: "linux-riscv64", accelerator: "cpu" }],
  "darwin-arm64": [{ name: "mac-arm64-metal", accelerator: "metal" }],
  "darwin-x64": [{ name: "mac-x64", accelerator: "cpu" }],
  "win32-x64": [
    { name: "win-x64", accelerator: "cpu" },
    { name: "win-x64-cuda", accelerator: "cuda" },
    { name: "win-x64-vulkan", accelerator: "vulkan" },
  ],
  "win32-arm64": [{ name: "win-arm64", accelerator: "cpu" }],
};

/**
 * The prebuilt binary for a machine: `wanted`, or the platform's first.
 * @throws EmbeddedError `unsupported_platform`
 */
export function llamaBinary(platform: string, arch: string, wanted?: LlamaAccelerator): LlamaBinary {
  const fitting = BINARIES[`${platform}-${arch}`] ?? [];
  const found = wanted === undefined ? fitting[0] : fitting.find((binary) => binary.accelerator === wanted);
  if (found !== undefined) return found;
  const what = wanted === undefined ? "" : ` with ${wanted}`;
  throw new EmbeddedError(
    "unsupported_platform",
    `node-llama-cpp has no prebuilt binary for ${platform}-${arch}${what}; use another runtime here, such as Ollama`,
  );
}
