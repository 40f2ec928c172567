import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Environment } from "../../service/config.ts";

/** Longer paths no socket can have (unix(7): 108 bytes on Linux, 104 on macOS). */
const MAX_PATH_BYTES = 100;
const PIPES = "\\\\.\\pipe\\";
const PIPE_PREFIX = "tiermesh-agent-";
/** Where agents that are services of the system put their sockets. */
const SYSTEM_FOLDERS: Partial<Record<NodeJS.Platform, string>> = {
  linux: "/run/tiermesh",
  darwin: "/Library/Application Support/tiermesh/run",
};

/** Where an agent listens for whoever sits at its machine. */
export interface LocalAddress {
  path: string;
  /** For every user of this machine; else for its own alone. */
  shared: boolean;
}

/**
 * A service's socket lies in the folder that its service manager made for it (systemd's RuntimeDirectory) and is for everybody on this
 * machine, whose owner may be anybody on it; a program of a person's own has it in its own folder. On Windows it is a named pipe.
 */
export function localAddress(
  env: Environment,
  { nodeDir, nodeId }: { nodeDir: string; nodeId: string },
  platform: NodeJS.Platform = process.platform,
): LocalAddress {
  if (platform === "win32") return { path: `${PIPES}${PIPE_PREFIX}${nodeId}-${digest(nodeDir)}`, shared: true };
  const [folder = ""] = (env["TIERMESH_RUN_DIR"] ?? env["RUNTIME_DIRECTORY"] ?? "").split(":");
  return folder === ""
    ? { path: shortened(path.join(nodeDir, "control.sock")), shared: false }
    : { path: shortened(path.join(folder, `agent-${nodeId}.sock`)), shared: true };
}

/** Where agents of this machine may listen, as far as this user can see: those of services, and this user's own. */
export function localAgents(
  env: Environment,
  stateDir: string,
  platform: NodeJS.Platform = process.platform,
): string[] {
  if (platform === "win32")
    return namesIn(PIPES)
      .filter((name) => name.startsWith(PIPE_PREFIX))
      .map((name) => `${PIPES}${name}`);
  const run = env["TIERMESH_RUN_DIR"] ?? "";
  const folder = run === "" ? (SYSTEM_FOLDERS[platform] ?? "") : run;
  const services = namesIn(folder)
    .filter((name) => /^agent-.*\.sock$/.test(name))
    .map((name) => path.join(folder, name));
  const agents = path.join(stateDir, "agent");
  const own = namesIn(agents).map((name) => shortened(path.join(agents, name, "control.sock")));
  return [...services, ...own];
}

/** A path that is too long for a socket is one in the temporary folder instead, which both sides find by its digest. */
function shortened(file: string): string {
  return Buffer.byteLength(file) <= MAX_PATH_BYTES ? file : path.join(tmpdir(), `tiermesh-${digest(file)}.sock`);
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

function namesIn(folder: string): string[] {
  try {
    return folder === "" ? [] : readdirSync(folder);
  } catch {
    return [];
  }
}
