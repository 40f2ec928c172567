import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { EmbeddedError, type OnProgress } from "./errors.ts";
import { LLAMA_VERSION, llamaBinary, type LlamaAccelerator, type LlamaBinary } from "./llama-binaries.ts";
import { npmCommand, npmEnvironment } from "./npm-command.ts";
import { withLock } from "../../service/file-lock.ts";
import { runCommand, withoutOwnSettings } from "../../service/run-command.ts";

/** Written last, before the folder gets its final name: what has it is whole. */
const MARKER = "tiermesh-installed.json";

/** A slow line may take a while for 85 MB; a hung npm must not take for ever, milliseconds. */
const INSTALL_LIMIT_MS = 30 * 60_000;

const LOCK_FILE = fileURLToPath(new URL("./node-llama-cpp.lock.json", import.meta.url));

export interface LlamaPackageOptions {
  cacheDir: string;
  env: NodeJS.ProcessEnv;
  accelerator?: LlamaAccelerator;
  onProgress?: OnProgress;
  platform?: string;
  arch?: string;
}

export interface LlamaPackage {
  /** Folder that holds `node_modules/node-llama-cpp`. */
  dir: string;
  accelerator: LlamaAccelerator;
}

/**
 * node-llama-cpp with the one prebuilt binary that fits, installed below `cacheDir` when it is not there yet: about 85 MB
 * on disk for a CPU (its whole set of optional packages is 725 MB). No install script runs; tarballs are checked
 * against the committed lock file. An interrupted install leaves nothing that counts, and npm's cache keeps what it had.
 * @throws EmbeddedError `unsupported_platform` or `package_unavailable`
 */
export async function ensureLlamaPackage(options: LlamaPackageOptions, signal?: AbortSignal): Promise<LlamaPackage> {
  const binary = llamaBinary(options.platform ?? process.platform, options.arch ?? process.arch, options.accelerator);
  const dir = join(options.cacheDir, "node-llama-cpp", LLAMA_VERSION, binary.name);
  const result: LlamaPackage = { dir, accelerator: binary.accelerator };
  if (isWhole(dir)) return result;
  await withLock(
    `${dir}.lock`,
    async () => {
      if (!isWhole(dir)) await install(dir, binary, options, signal);
    },
    signal,
  );
  return result;
}

function isWhole(dir: string): boolean {
  return existsSync(join(dir, MARKER));
}

async function install(
  dir: string,
  binary: LlamaBinary,
  options: LlamaPackageOptions,
  signal: AbortSignal | undefined,
): Promise<void> {
  const say = (message: string) => options.onProgress?.({ stage: "package", message });
  const scratch = `${dir}.${randomUUID()}.tmp`;
  await mkdir(scratch, { recursive: true });
  try {
    say(`installing node-llama-cpp ${LLAMA_VERSION} (${binary.name}) with npm`);
    const lock = lockFor(binary, JSON.parse(await readFile(LOCK_FILE, "utf8")) as NpmLock);
    await writeFile(join(scratch, "package.json"), JSON.stringify({ ...lock.packages[""], private: true }));
    await writeFile(join(scratch, "package-lock.json"), JSON.stringify(lock));
    await npmInstall(scratch, options.env, signal);
    await writeFile(join(scratch, MARKER), JSON.stringify({ version: LLAMA_VERSION, binary: binary.name }));
    await publish(scratch, dir);
    say(`node-llama-cpp ${LLAMA_VERSION} is installed in ${dir}`);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function npmInstall(cwd: string, env: NodeJS.ProcessEnv, signal: AbortSignal | undefined): Promise<void> {
  const npm = npmCommand(env);
  const flags = ["ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--no-update-notifier"];
  const advice = "check that npm reaches its registry (npm ping), or use another runtime";
  const options = { cwd, env: npmEnvironment(withoutOwnSettings(env)), timeoutMs: INSTALL_LIMIT_MS };
  const { code, stderr } = await runCommand(npm.file, [...npm.args, ...flags], options, signal);
  signal?.throwIfAborted();
  if (code === 0) return;
  const ended = code === null ? "could not be run" : `ended with code ${code}`;
  throw new EmbeddedError(
    "package_unavailable",
    `npm ci of node-llama-cpp ${ended}; ${advice}. npm said: ${stderr.slice(-2000)}`,
  );
}

/** First one wins: the other's copy is as good. A folder without the marker is somebody's leftover. */
async function publish(scratch: string, dir: string): Promise<void> {
  await mkdir(dirname(dir), { recursive: true });
  if (!isWhole(dir)) await rm(dir, { recursive: true, force: true });
  try {
    await rename(scratch, dir);
  } catch (error) {
    if (!isWhole(dir)) throw error;
  }
}

interface NpmLock {
  packages: Record<string, { dependencies?: Record<string, string>; [field: string]: unknown }>;
  [field: string]: unknown;
}

/**
 * The committed lock with one platform package added. It is committed without any because npm either takes all that fit
 * the platform (CUDA and Vulkan too) or, with `--omit=optional`, none.
 */
export function lockFor(binary: LlamaBinary, base: NpmLock): NpmLock {
  const name = `@node-llama-cpp/${binary.name}`;
  const root = base.packages[""] ?? {};
  return {
    ...base,
    packages: {
      ...base.packages,
      "": { ...root, dependencies: { ...root.dependencies, [name]: LLAMA_VERSION } },
      [`node_modules/${name}`]: {
        version: LLAMA_VERSION,
        ...(binary.integrity === undefined ? {} : { integrity: binary.integrity }),
      },
    },
  };
}
