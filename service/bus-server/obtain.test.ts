import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { NoServerError, obtainNatsServer } from "./obtain.ts";
import { cacheSource } from "./sources/cache.ts";
import { envSource } from "./sources/env.ts";
import { pathSource } from "./sources/path.ts";
import type { Source } from "./sources/source.ts";
import { keepBinary, withScratch } from "./sources/store.ts";

function folder(): string {
  const dir = tempDir();
  onTestFinished(() => dir.remove());
  return dir.path;
}

/** A stand-in that answers `--version` like a nats-server; a shell script, so not on Windows. */
function fakeServer(dir: string, version: string, name = "nats-server"): string {
  mkdirSync(dir, { recursive: true });
  const file = path.join(dir, name);
  writeFileSync(file, `#!/bin/sh\necho "nats-server: v${version}"\n`);
  chmodSync(file, 0o755);
  return file;
}

const lookers = [envSource, pathSource, cacheSource];

/** A source that "builds" a server, and counts how often. */
function builder(version: string): Source & { built: number } {
  return {
    name: "builder",
    kind: "fetch",
    advice: "have a builder",
    built: 0,
    obtain({ cacheDir }, signal) {
      this.built++;
      return withScratch(cacheDir, (scratch) => keepBinary(cacheDir, fakeServer(scratch, version), signal));
    },
  };
}

test.skipIf(process.platform === "win32")("NATS_SERVER wins over PATH, and PATH over the cache", async () => {
  const root = folder();
  const chosen = fakeServer(path.join(root, "a"), "2.11.0", "my-nats");
  const onPath = fakeServer(path.join(root, "b"), "2.12.0");
  const cached = fakeServer(path.join(root, "cache", "nats-server", "2.13.0"), "2.13.0");
  const ask = (env: Record<string, string>) =>
    obtainNatsServer({ env, cacheDir: path.join(root, "cache"), sources: lookers });
  const PATH = path.dirname(onPath);
  expect(await ask({ NATS_SERVER: chosen, PATH })).toEqual({ path: chosen, version: "2.11.0", source: "NATS_SERVER" });
  expect(await ask({ PATH })).toEqual({ path: onPath, version: "2.12.0", source: "PATH" });
  expect((await obtainNatsServer({ env: {}, cacheDir: path.join(root, "cache"), sources: [cacheSource] })).path).toBe(
    cached,
  );
});

test.skipIf(process.platform === "win32")("a server below the floor is skipped, and that is said", async () => {
  const root = folder();
  const old = fakeServer(path.join(root, "old"), "2.9.9");
  const good = fakeServer(path.join(root, "good"), "2.9.10");
  const told: string[] = [];
  const env = { NATS_SERVER: old, PATH: path.dirname(good) };
  const found = await obtainNatsServer({
    env,
    cacheDir: root,
    sources: lookers,
    onProgress: (line) => told.push(line),
  });
  expect(found.path).toBe(good);
  expect(told).toEqual([`nats-server, NATS_SERVER: ${old} is version 2.9.9, older than 2.9.10, and is skipped`]);
});

test.skipIf(process.platform === "win32")("of several cached versions the newest that runs is taken", async () => {
  const root = folder();
  const store = path.join(root, "nats-server");
  fakeServer(path.join(store, "2.9.10"), "2.9.10");
  const best = fakeServer(path.join(store, "2.15.2"), "2.15.2");
  mkdirSync(path.join(store, "2.16.0"));
  writeFileSync(path.join(store, "2.16.0", "nats-server"), "half a file");
  expect((await obtainNatsServer({ env: {}, cacheDir: root, sources: [cacheSource] })).path).toBe(best);
});

test("a NATS_SERVER that does not run is an error that names the variable", async () => {
  const env = { NATS_SERVER: path.join(folder(), "nothing") };
  const asked = obtainNatsServer({ env, cacheDir: folder(), sources: lookers });
  await expect(asked).rejects.toMatchObject({ code: "bad_config", field: "NATS_SERVER" });
});

test("when every source is out of luck, the error lists each reason and each way", async () => {
  const failing: Source = {
    name: "f",
    kind: "fetch",
    advice: "do f",
    obtain: () => Promise.resolve({ none: "f is closed" }),
  };
  const throwing: Source = {
    name: "t",
    kind: "fetch",
    advice: "do t",
    obtain: () => Promise.reject(new Error("t broke")),
  };
  const told: string[] = [];
  const error = await obtainNatsServer({
    env: {},
    cacheDir: folder(),
    sources: [cacheSource, failing, throwing],
    onProgress: (line) => told.push(line),
  }).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(NoServerError);
  const { message, reasons } = error as NoServerError;
  expect([...reasons.keys()]).toEqual(["cache", "f", "t"]);
  for (const part of ["f is closed", "t broke", "do f", "do t", "TIERMESH_NATS_URL"]) expect(message).toContain(part);
  expect(told).toEqual(["nats-server, f: f is closed", "nats-server, t: t broke"]);
});

test.skipIf(process.platform === "win32")(
  "many who ask at once share one fetch, and nothing half-made is left",
  async () => {
    const root = folder();
    const source = builder("2.15.2");
    const asks = Array.from({ length: 8 }, () =>
      obtainNatsServer({ env: {}, cacheDir: root, sources: [cacheSource, source] }),
    );
    const found = await Promise.all(asks);
    expect(source.built).toBe(1);
    expect(new Set(found.map((each) => each.path))).toEqual(
      new Set([path.join(root, "nats-server", "2.15.2", "nats-server")]),
    );
    expect(readdirSync(path.join(root, "nats-server"))).toEqual(["2.15.2"]);
    expect(readdirSync(path.join(root, "nats-server", "2.15.2"))).toEqual(["nats-server"]);
  },
);

test.skipIf(process.platform === "win32")("a fetched server below the floor is not kept", async () => {
  const root = folder();
  await expect(obtainNatsServer({ env: {}, cacheDir: root, sources: [builder("2.8.0")] })).rejects.toThrow(
    /older than 2\.9\.10/,
  );
  expect(existsSync(path.join(root, "nats-server", "2.8.0"))).toBe(false);
});

test("an abort ends the search with the abort's reason and frees the lock", async () => {
  const root = folder();
  const abort = new AbortController();
  const slow: Source = {
    name: "slow",
    kind: "fetch",
    advice: "",
    obtain: (_context, signal) =>
      new Promise((_resolve, reject) => {
        signal?.addEventListener("abort", () => reject(new Error("cut")), { once: true });
        abort.abort(new Error("enough"));
      }),
  };
  await expect(obtainNatsServer({ env: {}, cacheDir: root, sources: [slow], signal: abort.signal })).rejects.toThrow(
    "enough",
  );
  expect(existsSync(path.join(root, "nats-server", ".lock"))).toBe(false);
});

test("a cache folder that cannot be written is an error that names the variable", async () => {
  const file = path.join(folder(), "file");
  writeFileSync(file, "");
  const asked = obtainNatsServer({ env: {}, cacheDir: file, sources: [cacheSource] });
  await expect(asked).rejects.toMatchObject({ code: "bad_config", field: "TIERMESH_CACHE_DIR" });
});
