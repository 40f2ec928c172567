// Which Node runs Tiermesh, and how a process is handed to it. Node built-ins only: this file must load under Node 18.
// The pin is the npm package `node` in package.json; its binary lies in node_modules/node/bin.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import * as modules from "node:module";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));
const windows = process.platform === "win32";

/** The exact Node version of package.json, such as "24.21.0". */
export const pinnedVersion = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).optionalDependencies.node;

/** Where the pinned binary lies once it is installed. */
export const pinnedPath = join(root, "node_modules", "node", "bin", windows ? "node.exe" : "node");

/** The Node to use: the pinned one, else the running one if it is new enough, else undefined. */
export function findNode() {
  if (existsSync(pinnedPath)) return pinnedPath;
  const oldestMajor = Number(pinnedVersion.split(".")[0]);
  return Number(process.versions.node.split(".")[0]) >= oldestMajor ? process.execPath : undefined;
}

/**
 * Where compiled code is kept between starts, which halves a start (0.60 to 0.25 s of processor time for `tiermesh nodes`): in the
 * user's own cache folder (cacheDir of service/paths.ts), not in Node's default below /tmp, where others could have put some.
 */
export function compiledDir(env = process.env, platform = process.platform, home = homedir()) {
  if (env.NODE_COMPILE_CACHE) return env.NODE_COMPILE_CACHE;
  if (env.TIERMESH_CACHE_DIR) return join(resolve(env.TIERMESH_CACHE_DIR), "compiled");
  if (platform === "win32")
    return join(env.LOCALAPPDATA || join(home, "AppData", "Local"), "tiermesh", "cache", "compiled");
  if (platform === "darwin") return join(home, "Library", "Caches", "tiermesh", "compiled");
  return join(env.XDG_CACHE_HOME?.startsWith("/") ? env.XDG_CACHE_HOME : join(home, ".cache"), "tiermesh", "compiled");
}

/** Root by sudo, perhaps with the home of a user, whose compiled code root must not run. */
function borrowedHome() {
  return process.getuid?.() === 0 && process.env.SUDO_UID !== undefined;
}

/**
 * Runs a file of this repository with `node`, as if it had been started directly, and leaves with its exit code.
 *
 * Where this process already is the pinned Node (every `npm start` after the first: npm puts node_modules/.bin first on the
 * PATH), the file is imported here: one process, and nothing between the terminal and it.
 *
 * Otherwise it is a child in the same process group. On Ctrl-C the terminal signals the child too, and npm signals us once more,
 * so counting signals is hopeless: the first signal we get, whichever it is, becomes one SIGTERM for the child ("stop in order",
 * harmless when it stops already), later ones are ignored here, and we leave only after the child has.
 * If we are killed with -9 nobody can tell the child, so it is told whom to watch, in TIERMESH_PARENT_PID: it stops in order when
 * that process is gone or when its own parent changes.
 * @param {string} node @param {string} file @param {string[]} args
 */
export async function runWith(node, file, args) {
  const launcher = launcherPid();
  if (process.versions.node === pinnedVersion) {
    if (launcher) process.env.TIERMESH_PARENT_PID = String(launcher);
    process.argv = [process.execPath, file, ...args];
    if (!borrowedHome()) modules.enableCompileCache(compiledDir());
    await import(pathToFileURL(file).href);
    return;
  }
  const flags = node === pinnedPath ? [] : ["--disable-warning=ExperimentalWarning"];
  const child = spawn(node, [...flags, file, ...args], {
    stdio: "inherit",
    env: {
      ...process.env,
      ...(borrowedHome() ? {} : { NODE_COMPILE_CACHE: compiledDir() }),
      TIERMESH_PARENT_PID: String(process.pid),
    },
  });
  let asked = false;
  const stop = () => {
    // On Windows the console has told the child, and kill() would be the hard way.
    if (!asked && !windows) child.kill("SIGTERM");
    asked = true;
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) process.on(signal, stop);
  const watch = setInterval(() => {
    if (launcher && !isAlive(launcher)) stop();
  }, 1000);
  child.on("error", (error) => {
    clearInterval(watch);
    process.stderr.write(`tiermesh: ${node} cannot be run: ${error.message}\n`);
    process.exitCode = 1;
  });
  child.on("exit", (code, signal) => {
    clearInterval(watch);
    for (const each of signals) process.removeListener(each, stop);
    if (signal) process.kill(process.pid, signal);
    else process.exitCode = code ?? 1;
  });
}

/**
 * The npm that started us, or undefined where a person's shell did (it may go and leave us running on purpose).
 * npm starts scripts through `sh -c`, and some shells (dash) stay in between and survive a kill -9 of npm.
 */
function launcherPid() {
  if (process.env.npm_lifecycle_event === undefined) return undefined;
  const { name, parentPid } = describe(process.ppid);
  return /^(ba|da|z|k)?sh$/.test(name) && parentPid > 1 ? parentPid : process.ppid;
}

/** Name and parent of a process; an empty name where the system does not tell (Windows: npm's cmd.exe ends with npm). */
function describe(pid) {
  try {
    // Linux: "pid (name) state ppid …"; /proc needs no `ps`, which small containers lack.
    const [, name, parentPid] = /^\d+ \((.*)\) \S (\d+)/s.exec(readFileSync(`/proc/${pid}/stat`, "utf8")) ?? [];
    return { name: name ?? "", parentPid: Number(parentPid) };
  } catch {
    const { stdout } = spawnSync("ps", ["-o", "ppid=,comm=", "-p", String(pid)], { encoding: "utf8" });
    const [, parentPid, path = ""] = /^\s*(\d+)\s+(.*\S)/.exec(stdout ?? "") ?? [];
    return { name: path.split("/").pop() ?? "", parentPid: Number(parentPid) };
  }
}

function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error.code === "EPERM";
  }
}
