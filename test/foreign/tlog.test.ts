import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, symlinkSync } from "node:fs";
import { cp, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { generatePrivateKey, parsePrivateKey } from "../../auditor/tlog/keys.ts";
import { TlogWriter } from "../../auditor/tlog/writer.ts";
import { tempDir, type TempDir } from "../kit/temp-dir.ts";

/**
 * Our logs, checked by Go's golang.org/x/mod/sumdb/{tlog,note} and none of our code. Nothing is downloaded: the packages
 * are Debian's (golang-golang-x-mod-dev) or those that every Go brings along for its own `go` command.
 */

const go = ["go", "/usr/local/go/bin/go"].find((program) => spawnSync(program, ["version"]).status === 0);
const sources = go === undefined ? undefined : findSources(go);
const absent = go === undefined ? "no Go here" : sources === undefined ? "Go has no golang.org/x/mod here" : undefined;
if (absent !== undefined) process.stderr.write(`test/foreign/tlog.test.ts is skipped: ${absent}\n`);

const signer = parsePrivateKey(generatePrivateKey((unique) => `tiermesh.internal/test/${unique}`));
let dir: TempDir;
let program: string;

function findSources(compiler: string): string | undefined {
  const root = spawnSync(compiler, ["env", "GOROOT"], { encoding: "utf8" }).stdout.trim();
  const places = ["/usr/share/gocode/src/golang.org/x/mod", path.join(root, "src/cmd/vendor/golang.org/x/mod")];
  return places.find((place) => existsSync(path.join(place, "sumdb/tlog")));
}

beforeAll(() => {
  dir = tempDir("tiermesh-foreign-");
  if (go === undefined || sources === undefined) return;
  mkdirSync(path.join(dir.path, "src/golang.org/x"), { recursive: true });
  symlinkSync(sources, path.join(dir.path, "src/golang.org/x/mod"), "junction");
  program = path.join(dir.path, process.platform === "win32" ? "tlog.exe" : "tlog");
  // Without modules Go looks for packages in GOPATH only, so it needs no network.
  const env = { ...process.env, GO111MODULE: "off", GOPATH: dir.path, GOFLAGS: "" };
  const main = path.join(import.meta.dirname, "tlog", "main.go");
  const built = spawnSync(go, ["build", "-o", program, main], { encoding: "utf8", env });
  if (built.status !== 0) throw new Error(built.stderr);
}, 180_000);
afterAll(() => dir.remove());

function check(folder: string, ...old: string[]): { status: number | null; out: string; err: string } {
  const ran = spawnSync(program, [folder, signer.verifierKey, ...old], { encoding: "utf8" });
  return { status: ran.status, out: ran.stdout.trim(), err: ran.stderr.trim() };
}

const entry = (i: number) => Buffer.from(`{"entry":${i},"pad":"${"x".repeat(i % 300)}"}`);
const entries = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => entry(from + i));

test.skipIf(absent !== undefined)(
  "Go's verifier accepts our logs of every shape, entry by entry, and each earlier checkpoint as their beginning",
  async () => {
    const folder = path.join(dir.path, "log");
    const log = await TlogWriter.open(folder, signer);
    const kept: string[] = [];
    for (const size of [1, 2, 3, 255, 256, 257, 511, 512, 700, 66_000]) {
      await log.append(entries(log.size, size));
      expect(check(folder, ...kept)).toEqual({ status: 0, out: `ok ${size}`, err: "" });
      kept.push(path.join(dir.path, `checkpoint-${size}`));
      await cp(path.join(folder, "checkpoint"), kept.at(-1) ?? "");
    }
  },
  120_000,
);

test.skipIf(absent !== undefined)(
  "Go's verifier refuses what ours refuses: a changed entry, tile, checkpoint or fork",
  async () => {
    const folder = path.join(dir.path, "changed");
    const log = await TlogWriter.open(folder, signer);
    await log.append(entries(0, 300));
    for (const name of ["checkpoint", "tile/0/000", "tile/0/001.p/44", "tile/entries/000", "tile/entries/001.p/44"]) {
      const file = path.join(folder, name);
      const good = await readFile(file);
      const at = Math.floor(good.length / 2);
      await writeFile(file, good.with(at, (good[at] ?? 0) ^ 1));
      expect(check(folder)).toMatchObject({ status: 1, out: "" });
      await writeFile(file, good);
    }
    expect(check(folder).out).toBe("ok 300");
    const fork = path.join(dir.path, "fork");
    const other = await TlogWriter.open(fork, signer);
    await other.append(entries(1, 400));
    expect(check(fork).out).toBe("ok 399");
    expect(check(fork, path.join(folder, "checkpoint"))).toMatchObject({ status: 1, out: "" });
  },
);
