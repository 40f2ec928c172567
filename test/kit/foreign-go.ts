import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, symlinkSync } from "node:fs";
import path from "node:path";

/**
 * A checker written in Go over golang.org/x/mod/sumdb/{tlog,note} and none of our code. Nothing is downloaded: the packages
 * are Debian's (golang-golang-x-mod-dev) or those that every Go brings along for its own `go` command.
 */
export interface ForeignChecker {
  /** Why there is none, in words; then `run` cannot be used. */
  absent: string | undefined;
  run(...args: string[]): { status: number | null; out: string; err: string };
}

const SOURCE = path.join(import.meta.dirname, "..", "foreign", "tlog");

/** Builds test/foreign/tlog in a folder. @throws Error with the compiler's words */
export function buildForeignChecker(folder: string): ForeignChecker {
  const go = ["go", "/usr/local/go/bin/go"].find((program) => spawnSync(program, ["version"]).status === 0);
  const sources = go === undefined ? undefined : findSources(go);
  const program = path.join(folder, process.platform === "win32" ? "tlog.exe" : "tlog");
  if (go !== undefined && sources !== undefined) {
    mkdirSync(path.join(folder, "src/golang.org/x"), { recursive: true });
    symlinkSync(sources, path.join(folder, "src/golang.org/x/mod"), "junction");
    // Without modules Go looks for packages in GOPATH only, so it needs no network.
    const env = { ...process.env, GO111MODULE: "off", GOPATH: folder, GOFLAGS: "" };
    const built = spawnSync(go, ["build", "-o", program], { encoding: "utf8", env, cwd: SOURCE });
    if (built.status !== 0) throw new Error(built.stderr);
  }
  return {
    absent: go === undefined ? "no Go here" : sources === undefined ? "Go has no golang.org/x/mod here" : undefined,
    run: (...args) => {
      const { status, stderr, stdout } = spawnSync(program, args, { encoding: "utf8" });
      return { status, out: stdout.trim(), err: stderr.trim() };
    },
  };
}

function findSources(compiler: string): string | undefined {
  const root = spawnSync(compiler, ["env", "GOROOT"], { encoding: "utf8" }).stdout.trim();
  const places = ["/usr/share/gocode/src/golang.org/x/mod", path.join(root, "src/cmd/vendor/golang.org/x/mod")];
  return places.find((place) => existsSync(path.join(place, "sumdb/tlog")));
}
