import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { z } from "zod";
import { ENTRIES, LOADER_ASSET } from "../agent/entries.ts";
import { programKind } from "../agent/install/executable-format.ts";
import { KOFFI_ASSET } from "../agent/probes/nvidia/koffi.ts";
import { BUILD_ASSET, WRAPPER_ASSET, type BuildInfo } from "../agent/single-executable-build.ts";
import { THRIFTY_FLAGS } from "../agent/thrift.ts";
import { ROOT, bundle } from "./agent-bundle.ts";
import { koffiBinary, nodeBinary, systemOf, type Target } from "./agent-targets.ts";

/** What Node looks for in itself, and the mark that says that it is there (nodejs.org, "Single executable applications"). */
const BLOB = { name: "NODE_SEA_BLOB", fuse: "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2", segment: "NODE_SEA" };
/**
 * Flags that are inside. With `execArgvExtension: "none"` neither NODE_OPTIONS nor the command line adds any: nobody makes the agent load
 * a file of his own. SIGUSR1 would open a debugger's port.
 */
const FLAGS = [...THRIFTY_FLAGS, "--disable-sigusr1", "--disable-warning=ExperimentalWarning"];

export interface BuildOptions {
  target: Target;
  version: string;
  out: string;
  /** The target's Node, where no package has it. */
  node?: string | undefined;
  /** WinSW-x64.exe, to travel inside. */
  winsw?: string | undefined;
}

/** Makes the agent as one program. @returns its file. @throws when the target's Node cannot be had, or cannot be written into */
export async function buildSingleExecutable(options: BuildOptions): Promise<string> {
  const { target, out } = options;
  const { platform, arch } = systemOf(target);
  const node = nodeBinary(target, options.node);
  const file = path.join(out, `tiermesh-agent-${target}${platform === "win32" ? ".exe" : ""}`);
  const scratch = mkdtempSync(path.join(tmpdir(), "tiermesh-sea-"));
  try {
    const assets = await assetsOf(scratch, options);
    const config = {
      main: assets[LOADER_ASSET],
      output: path.join(scratch, "blob"),
      disableExperimentalSEAWarning: true,
      useSnapshot: false,
      // It would be of this system's processor.
      useCodeCache: false,
      execArgv: FLAGS,
      execArgvExtension: "none",
      assets,
    };
    writeFileSync(path.join(scratch, "sea.json"), JSON.stringify(config));
    execFileSync(process.execPath, ["--experimental-sea-config", path.join(scratch, "sea.json")], { stdio: "ignore" });
    const program = path.join(scratch, "program");
    copyFileSync(node, program);
    chmodSync(program, 0o755);
    if (platform === "win32") writeFileSync(program, withoutAuthenticode(readFileSync(program)));
    // A signature covers every byte of the file.
    const onMac = process.platform === "darwin" && platform === "darwin";
    if (onMac) execFileSync("codesign", ["--remove-signature", program]);
    await inject(program, readFileSync(path.join(scratch, "blob")));
    if (onMac) execFileSync("codesign", ["--force", "--sign", "-", program]);
    const found = programKind(readFileSync(program).subarray(0, 4096));
    if (found?.platform !== platform || found.arch !== arch) throw new Error(`${node} is no Node for ${target}`);
    copyFileSync(program, `${file}.new`);
    chmodSync(`${file}.new`, 0o755);
    rmSync(file, { force: true });
    copyFileSync(`${file}.new`, file);
    rmSync(`${file}.new`);
    return file;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Everything that is inside, by the name under which it is found there. */
async function assetsOf(scratch: string, { target, version, winsw }: BuildOptions): Promise<Record<string, string>> {
  const agent = (file: string) => path.join(ROOT, "agent", file);
  // The embedded runtime needs a Node (agent/embedded).
  const { embedded: _, ...entries } = ENTRIES;
  const parts = Object.entries(entries).map(([name, file]) => [name, agent(file)] as const);
  const modules = { cli: path.join(ROOT, "cli", "agent", "main.ts"), ...Object.fromEntries(parts) };
  await bundle(scratch, modules, { version });
  await bundle(scratch, { loader: agent("single-executable.ts") }, { format: "cjs" });
  const { platform, arch } = systemOf(target);
  const build: z.infer<typeof BuildInfo> = {
    version,
    platform,
    arch,
    node: process.versions.node,
    source_unix_ms: sourceTimeMs(),
  };
  writeFileSync(path.join(scratch, BUILD_ASSET), JSON.stringify(build));
  const koffi = koffiBinary(target);
  return {
    ...Object.fromEntries(Object.keys(modules).map((name) => [`${name}.js`, path.join(scratch, `${name}.js`)])),
    [LOADER_ASSET]: path.join(scratch, LOADER_ASSET),
    [BUILD_ASSET]: path.join(scratch, BUILD_ASSET),
    ...(koffi === undefined ? {} : { [KOFFI_ASSET]: koffi }),
    ...(winsw === undefined ? {} : { [WRAPPER_ASSET]: path.resolve(winsw) }),
  };
}

async function inject(program: string, blob: Buffer): Promise<void> {
  // Five megabytes of WebAssembly, only where a program is made. It says on standard error how the sections of Node surprise it.
  const { inject: postject } = await import("postject");
  await postject(program, BLOB.name, blob, { sentinelFuse: BLOB.fuse, machoSegmentName: BLOB.segment });
}

/** The time of the commit, so that the same source makes the same program; that of package.json outside git. */
export function sourceTimeMs(): number {
  const fixed = Number(process.env["SOURCE_DATE_EPOCH"] ?? "");
  if (fixed > 0) return fixed * 1000;
  if (!existsSync(path.join(ROOT, ".git"))) return 0;
  return Number(execFileSync("git", ["-C", ROOT, "log", "-1", "--format=%ct"], { encoding: "utf8" })) * 1000;
}

/**
 * A Windows program without its signature, which the injection would make wrong: the certificate table is the last thing in the file, and
 * is named by entry 4 of the optional header's data directories (PE format).
 */
export function withoutAuthenticode(program: Buffer): Buffer {
  const header = program.readUInt32LE(0x3c) + 24;
  const isPe32Plus = program.readUInt16LE(header) === 0x20b;
  const entry = header + (isPe32Plus ? 112 : 96) + 4 * 8;
  const [offset, size] = [program.readUInt32LE(entry), program.readUInt32LE(entry + 4)];
  if (offset === 0) return program;
  if (offset + size !== program.length) throw new Error("the Windows program has more after its signature");
  program.writeBigUInt64LE(0n, entry);
  return program.subarray(0, offset);
}
