import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, symlinkSync } from "node:fs";
import path from "node:path";

/**
 * Go programs over golang.org/x/mod and none of our code. Nothing is downloaded: the packages are Debian's
 * (golang-golang-x-mod-dev) or those that every Go brings along for its own `go` command.
 */
const go = ["go", "/usr/local/go/bin/go"].find((program) => spawnSync(program, ["version"]).status === 0);
const sources = go === undefined ? undefined : findSources(go);

/** Why such programs cannot be built here; undefined when they can. */
export const NO_GO =
  go === undefined ? "no Go here" : sources === undefined ? "Go has no golang.org/x/mod here" : undefined;

function findSources(compiler: string): string | undefined {
  const root = spawnSync(compiler, ["env", "GOROOT"], { encoding: "utf8" }).stdout.trim();
  const places = ["/usr/share/gocode/src/golang.org/x/mod", path.join(root, "src/cmd/vendor/golang.org/x/mod")];
  return places.find((place) => existsSync(path.join(place, "sumdb/tlog")));
}

/**
 * Builds the program `test/foreign/<name>` in a folder.
 * @returns what runs it
 * @throws Error what the compiler says
 */
export function buildGo(name: string, folder: string) {
  if (go === undefined || sources === undefined) throw new Error(NO_GO);
  mkdirSync(path.join(folder, "src/golang.org/x"), { recursive: true });
  symlinkSync(sources, path.join(folder, "src/golang.org/x/mod"), "junction");
  const program = path.join(folder, process.platform === "win32" ? `${name}.exe` : name);
  // Without modules Go looks for packages in GOPATH only, so it needs no network.
  const env = { ...process.env, GO111MODULE: "off", GOPATH: folder, GOFLAGS: "" };
  const cwd = path.join(import.meta.dirname, name);
  const built = spawnSync(go, ["build", "-o", program], { encoding: "utf8", env, cwd });
  if (built.status !== 0) throw new Error(built.stderr);
  return (...args: string[]) => {
    const ran = spawnSync(program, args, { encoding: "utf8" });
    return { status: ran.status, out: ran.stdout.trim(), err: ran.stderr.trim() };
  };
}
