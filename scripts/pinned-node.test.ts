import { spawn, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { expect, onTestFinished, test } from "vitest";
import { cacheDir } from "../service/paths.ts";
import { compiledDir } from "./pinned-node.mjs";

/** Says who it is, says each signal, and ends with code 7 after being told to stop. */
const program = `
process.on("SIGTERM", () => console.log("SIGTERM"));
process.on("SIGUSR2", () => process.exit(7));
setInterval(() => undefined, 1000);
console.log(JSON.stringify({ pid: process.pid, ppid: process.ppid, watch: process.env.TIERMESH_PARENT_PID, args: process.argv.slice(2) }));
`;

interface Launched {
  child: ChildProcessByStdio<null, Readable, Readable>;
  /** The next line of output. */
  line: () => Promise<string>;
}

/** Starts bin/tiermesh.mjs of a small copy of the repository whose pinned Node is said to be `pin`. */
function launch(pin: string, args: string[], options: { installed: boolean }): Launched {
  const root = mkdtempSync(join(tmpdir(), "tiermesh-launch-"));
  const source = join(import.meta.dirname, "..");
  for (const path of ["scripts/pinned-node.mjs", "bin/tiermesh.mjs"]) cpSync(join(source, path), join(root, path));
  writeFileSync(join(root, "package.json"), JSON.stringify({ type: "module", optionalDependencies: { node: pin } }));
  mkdirSync(join(root, "cli"));
  writeFileSync(join(root, "cli", "main.ts"), program);
  if (options.installed) {
    mkdirSync(join(root, "node_modules", "node", "bin"), { recursive: true });
    symlinkSync(process.execPath, join(root, "node_modules", "node", "bin", "node"));
  }
  const { npm_lifecycle_event: _npm, TIERMESH_PARENT_PID: _launcher, ...env } = process.env;
  const child = spawn(process.execPath, [join(root, "bin", "tiermesh.mjs"), ...args], {
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  onTestFinished(() => {
    child.kill("SIGKILL");
    rmSync(root, { recursive: true, force: true });
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return { child, line: async () => String((await lines.next()).value) };
}

const otherVersion = "24.0.0-not-the-running-one";
const windows = process.platform === "win32";

test.skipIf(windows)(
  "another Node hands over to the pinned one, passes one stop on, and leaves with its exit code",
  async () => {
    const { child, line } = launch(otherVersion, ["up", "--json"], { installed: true });
    const hello = JSON.parse(await line()) as { pid: number };
    expect(hello).toEqual({ pid: hello.pid, ppid: child.pid, watch: String(child.pid), args: ["up", "--json"] });
    child.kill("SIGINT");
    expect(await line()).toBe("SIGTERM");
    child.kill("SIGTERM");
    process.kill(hello.pid, "SIGUSR2");
    expect(await line()).toBe("undefined");
    expect(await once(child, "exit")).toEqual([7, null]);
  },
);

test.skipIf(windows)("the pinned Node runs the program itself, without a process in between", async () => {
  const { child, line } = launch(process.versions.node, ["up"], { installed: true });
  expect(JSON.parse(await line())).toEqual({ pid: child.pid, ppid: process.pid, args: ["up"] });
  child.kill("SIGUSR2");
  expect(await once(child, "exit")).toEqual([7, null]);
});

test("a Node that is too old and no pinned one is a clear error", async () => {
  const { child } = launch("99.1.0", ["up"], { installed: false });
  child.stderr.setEncoding("utf8");
  let text = "";
  child.stderr.on("data", (part: string) => (text += part));
  expect(await once(child, "close")).toEqual([1, null]);
  expect(text).toContain(`needs Node 99.1.0, this is ${process.version}`);
});

test.each<[NodeJS.Platform, Record<string, string>]>([
  ["linux", {}],
  ["linux", { XDG_CACHE_HOME: "/var/ada" }],
  ["linux", { XDG_CACHE_HOME: "relative" }],
  ["linux", { TIERMESH_CACHE_DIR: "/srv/cache" }],
  ["darwin", {}],
  ["win32", { LOCALAPPDATA: "/ada/local" }],
])("compiled code lies in the cache folder: %s %j", (platform, env) => {
  const home = "/home/ada";
  const wanted = `${cacheDir({ env, platform, home })}/compiled`;
  expect(compiledDir(env, platform, home).replaceAll("\\", "/")).toBe(wanted.replaceAll("\\", "/"));
});
