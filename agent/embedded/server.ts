import type { AddressInfo } from "node:net";
import { parseArgs } from "node:util";
import { createLog } from "../../service/log.ts";
import { createEmbeddedServer } from "./http-server.ts";
import { loadLlamaBindings } from "./llama-bindings.ts";
import type { LlamaAccelerator } from "./llama-binaries.ts";
import { createLlamaGenerator } from "./llama-generator.ts";

/**
 * The embedded runtime's process:
 * `node agent/embedded/server.ts --model FILE --llama-dir DIR [--name ID] [--system TEXT] [--accelerator cpu] [--threads N] [--parallel N] [--context N]`.
 * One JSON line on standard output, `{"ready":true,"port":…}` or `{"ready":false,"error":…}`; logs on standard error.
 * It ends when its standard input does (whoever started it is gone). `TIERMESH_RUNTIME_TOKEN` is the bearer token it asks for.
 */
const log = createLog("embedded");

/** How long releasing the model may take before the process ends anyway, milliseconds. */
const CLOSE_LIMIT_MS = 500;

const DEFAULTS = { parallel: 2, context: 4096 };

function readFlags() {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    options: {
      model: text,
      name: text,
      system: text,
      "llama-dir": text,
      accelerator: text,
      threads: text,
      parallel: text,
      context: text,
    },
  });
  const number = (name: "threads" | "parallel" | "context", max: number): number | undefined => {
    const value = values[name];
    if (value === undefined) return undefined;
    const parsed = Number(value);
    if (Number.isInteger(parsed) && parsed >= 1 && parsed <= max) return parsed;
    throw new Error(`--${name}: a whole number from 1 to ${String(max)}`);
  };
  const { model, "llama-dir": llamaDir, accelerator = "cpu" } = values;
  if (model === undefined || llamaDir === undefined) throw new Error("--model FILE and --llama-dir DIR are needed");
  if (!isAccelerator(accelerator)) throw new Error("--accelerator: cpu, cuda, vulkan or metal");
  const threads = number("threads", 1024);
  return {
    modelPath: model,
    model: values.name ?? "model",
    llamaDir,
    ...(values.system === undefined ? {} : { systemPrompt: values.system }),
    accelerator,
    ...(threads === undefined ? {} : { threads }),
    parallelSlots: number("parallel", 64) ?? DEFAULTS.parallel,
    contextTokens: number("context", 1_000_000) ?? DEFAULTS.context,
  };
}

function isAccelerator(text: string): text is LlamaAccelerator {
  return ["cpu", "cuda", "vulkan", "metal"].includes(text);
}

function report(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

async function main(): Promise<void> {
  const flags = readFlags();
  const generator = await createLlamaGenerator({
    ...flags,
    bindings: await loadLlamaBindings(flags.llamaDir),
    onLog: (level, message) => {
      if (level === "error" || level === "fatal") log.error({ from: "llama.cpp" }, message.trim());
      else log.debug({ from: "llama.cpp" }, message.trim());
    },
  });
  const token = process.env["TIERMESH_RUNTIME_TOKEN"];
  const server = createEmbeddedServer({ generator, log, ...(token === undefined || token === "" ? {} : { token }) });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });

  const stop = () => {
    setTimeout(() => process.exit(0), CLOSE_LIMIT_MS).unref();
    server.close();
    server.closeAllConnections();
    generator.close().then(
      () => process.exit(0),
      () => process.exit(0),
    );
  };
  process.stdin.once("end", stop).once("error", stop);
  process.once("SIGTERM", stop).once("SIGINT", stop);
  report({
    ready: true,
    port: (server.address() as AddressInfo).port,
    model: generator.model,
    context_length: generator.contextTokens,
    parallel_slots: generator.parallelSlots,
  });
}

// Also while the model loads: whoever started us may go at any time.
process.stdin.once("end", () => setTimeout(() => process.exit(0), CLOSE_LIMIT_MS).unref());
process.stdin.resume();
main().catch((error: unknown) => {
  log.fatal({ err: error }, "the embedded runtime could not start");
  report({ ready: false, error: error instanceof Error ? error.message : "could not start" });
  process.exitCode = 1;
  process.stdin.destroy();
});
