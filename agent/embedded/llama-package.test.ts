import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../../test/kit/temp-dir.ts";
import { llamaBinary } from "./llama-binaries.ts";
import { ensureLlamaPackage, lockFor } from "./llama-package.ts";
import { npmCommand, npmEnvironment } from "./npm-command.ts";

test.each([
  ["linux", "x64", undefined, "linux-x64", "cpu"],
  ["linux", "x64", "cuda", "linux-x64-cuda", "cuda"],
  ["darwin", "arm64", undefined, "mac-arm64-metal", "metal"],
  ["win32", "x64", undefined, "win-x64", "cpu"],
] as const)("%s-%s with %s takes %s", (platform, arch, wanted, name, accelerator) => {
  expect(llamaBinary(platform, arch, wanted)).toMatchObject({ name, accelerator });
});

test("a machine without a prebuilt binary is told what to use instead", () => {
  expect(() => llamaBinary("sunos", "x64")).toThrow(/no prebuilt binary for sunos-x64.*Ollama/);
  expect(() => llamaBinary("darwin", "arm64", "cuda")).toThrow("with cuda");
});

test("the lock gets exactly one platform package, pinned", () => {
  const lock = lockFor(
    { name: "linux-x64", accelerator: "cpu", integrity: "sha512-x" },
    { packages: { "": { dependencies: { a: "1" } } } },
  );
  expect(lock.packages).toEqual({
    "": { dependencies: { a: "1", "@node-llama-cpp/linux-x64": "3.22.1" } },
    "node_modules/@node-llama-cpp/linux-x64": { version: "3.22.1", integrity: "sha512-x" },
  });
});

test("an npm that fails leaves nothing that counts as installed, and its words are in the error", async () => {
  const cacheDir = tempDir("embedded-").path;
  const npm = join(cacheDir, "npm-cli.js");
  await writeFile(npm, "console.error('E404 from the registry'); process.exit(3);");
  const work = ensureLlamaPackage({ cacheDir, env: { npm_execpath: npm }, platform: "linux", arch: "x64" });
  await expect(work).rejects.toMatchObject({
    code: "package_unavailable",
    message: expect.stringContaining("E404 from the registry") as string,
  });
  expect(await readdir(join(cacheDir, "node-llama-cpp", "3.22.1"))).toEqual([]);
});

test("a leftover without the marker is replaced, and two callers install once", async () => {
  const cacheDir = tempDir("embedded-").path;
  const npm = join(cacheDir, "npm-cli.js");
  const runs = join(cacheDir, "runs");
  await mkdir(runs);
  // Stands in for npm: leaves one file a run, and what it was given.
  await writeFile(
    npm,
    `require("node:fs").writeFileSync(${JSON.stringify(runs)} + "/" + process.pid, process.argv.slice(2).join(" "));`,
  );
  const dir = join(cacheDir, "node-llama-cpp", "3.22.1", "linux-x64");
  await mkdir(join(dir, "half"), { recursive: true });
  const options = { cacheDir, env: { npm_execpath: npm }, platform: "linux", arch: "x64" };
  const [a, b] = await Promise.all([ensureLlamaPackage(options), ensureLlamaPackage(options)]);
  expect(a).toEqual({ dir, accelerator: "cpu" });
  expect(b).toEqual(a);
  expect(await readdir(runs)).toHaveLength(1);
  expect((await readdir(dir)).sort()).toEqual(["package-lock.json", "package.json", "tiermesh-installed.json"]);
});

test("npm is run by its script with this Node, found from npm_execpath or PATH", async () => {
  const folder = tempDir("embedded-").path;
  const cli = join(folder, "node_modules", "npm", "bin", "npm-cli.js");
  await mkdir(join(cli, ".."), { recursive: true });
  await writeFile(cli, "");
  // A Node that brings no npm of its own.
  const node = join(folder, "elsewhere", "bin", "node");
  expect(npmCommand({ npm_execpath: cli }, node)).toEqual({ file: node, args: [cli] });
  expect(npmCommand({ PATH: folder }, node)).toEqual({ file: node, args: [cli] });
  expect(npmCommand({ PATH: "/nowhere" }, node)).toEqual({ file: "npm", args: [] });
});

test("settings of an outer npm do not steer the install, mirrors and proxies do", () => {
  const env = {
    npm_config_global: "true",
    npm_config_omit: "dev",
    npm_package_name: "x",
    npm_config_registry: "https://mirror",
    HTTPS_PROXY: "p",
  };
  expect(npmEnvironment(env)).toEqual({ npm_config_registry: "https://mirror", HTTPS_PROXY: "p" });
});
