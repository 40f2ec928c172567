import { homedir } from "node:os";
import path from "node:path";
import type { Environment } from "../../config.ts";
import { runCommand } from "../../run-command.ts";
import { isReachable } from "../reachable.ts";
import { compareVersions, PINNED_VERSION } from "../server-version.ts";
import { onPath } from "./path.ts";
import type { FoundServer, NoServer, Source } from "./source.ts";
import { BINARY_NAME, keepBinary, withScratch } from "./store.ts";

const MODULE = "github.com/nats-io/nats-server/v2";

/** The Go checksum database's hash (sum.golang.org) of the module at PINNED_VERSION; checked again after the build. */
const MODULE_SUM = "h1:yLsgt2kslgymvxvjFq1WGWck5hkat2YYfbXvQ145tzU=";

/** The Go that this module needs (its go.mod), and the first Go that can fetch a newer one by itself. */
const GO_NEEDED = "1.26.0";
const GO_WITH_TOOLCHAINS = "1.21.0";

/** A first build on a slow machine, with the toolchain to fetch as well, milliseconds. */
const BUILD_LIMIT_MS = 15 * 60_000;

/** `go install` of the pinned version, where there is a Go. */
export const goInstallSource: Source = {
  name: "go install",
  kind: "fetch",
  advice: `install Go ${GO_NEEDED} or later (https://go.dev/dl)`,
  async obtain(context, signal) {
    const { env, cacheDir, onProgress } = context;
    const go = (await onPath(process.platform === "win32" ? "go.exe" : "go", env, usualGoFolders(env)))[0];
    if (go === undefined) return { none: "there is no Go" };
    const asked = await runCommand(
      go,
      ["env", "-json", "GOVERSION", "GOTOOLCHAIN", "GOPROXY"],
      { env, timeoutMs: 20_000 },
      signal,
    );
    if (asked.code !== 0) return { none: `${go} does not work: ${lastLine(asked.stderr)}` };
    const settings = JSON.parse(asked.stdout) as Record<string, string | undefined>;
    const tooOld = refuseGo(settings);
    if (tooOld !== undefined) return { none: tooOld };
    const proxy = firstProxy(settings["GOPROXY"] ?? "");
    if (proxy === "off") return { none: "GOPROXY is off" };
    if (proxy !== undefined && !(await isReachable(proxy, env, signal))) {
      return { none: `${new URL(proxy).host} cannot be reached` };
    }
    onProgress(`building nats-server ${PINNED_VERSION} with Go; this takes a minute or two`);
    return withScratch(cacheDir, (scratch) => build(go, scratch, context, signal));
  },
};

async function build(
  go: string,
  scratch: string,
  context: { env: Environment; cacheDir: string },
  signal?: AbortSignal,
): Promise<FoundServer | NoServer> {
  // What a person set for their own builds (a vendor folder, another platform, a workspace) must not bend this one.
  const env = {
    ...context.env,
    GOBIN: scratch,
    GOFLAGS: "",
    GOWORK: "off",
    CGO_ENABLED: "0",
    GOOS: "",
    GOARCH: "",
    HOME: context.env["HOME"] ?? homedir(),
  };
  const built = await runCommand(
    go,
    ["install", "-trimpath", `${MODULE}@v${PINNED_VERSION}`],
    { env, cwd: scratch, timeoutMs: BUILD_LIMIT_MS },
    signal,
  );
  if (built.code !== 0) return { none: `go install failed: ${lastLine(built.stderr)}` };
  const binary = path.join(scratch, BINARY_NAME);
  const origin = await runCommand(go, ["version", "-m", binary], { env, timeoutMs: 20_000 }, signal);
  if (!origin.stdout.includes(`${MODULE}\tv${PINNED_VERSION}\t${MODULE_SUM}`)) {
    return { none: "what Go built is not the pinned module; it was thrown away" };
  }
  return keepBinary(context.cacheDir, binary, signal);
}

/** Why this Go cannot build the server, or undefined when it can (perhaps by fetching a newer toolchain itself). */
export function refuseGo(settings: Readonly<Record<string, string | undefined>>): string | undefined {
  const version = /^go(\d+\.\d+(?:\.\d+)?)/.exec(settings["GOVERSION"] ?? "")?.[1];
  if (version === undefined) return undefined; // a development build: let it try
  const full = version.split(".").length === 2 ? `${version}.0` : version;
  if (compareVersions(full, GO_NEEDED) >= 0) return undefined;
  if (compareVersions(full, GO_WITH_TOOLCHAINS) < 0) return `Go ${version} is older than ${GO_NEEDED}`;
  const choice = settings["GOTOOLCHAIN"] ?? "";
  return choice === "local" || choice === "path"
    ? `Go ${version} is older than ${GO_NEEDED} and GOTOOLCHAIN=${choice} forbids a newer one`
    : undefined;
}

/** The URL that Go will ask first, "off", or undefined when it needs no network (a file: proxy). */
export function firstProxy(goproxy: string): string | undefined {
  const first = goproxy.split(/[,|]/)[0]?.trim() ?? "";
  if (first === "off") return "off";
  if (first === "direct" || first === "") return "https://github.com";
  if (first.startsWith("file:")) return undefined;
  return URL.canParse(first) ? first : `https://${first}`;
}

function usualGoFolders(env: Environment): string[] {
  if (process.platform === "win32") return [path.win32.join(env["ProgramFiles"] ?? "C:\\Program Files", "Go", "bin")];
  return ["/usr/local/go/bin", "/opt/homebrew/bin"];
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}
