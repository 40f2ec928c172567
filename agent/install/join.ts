import { spawn } from "node:child_process";
import { text as readAll } from "node:stream/consumers";
import { MeshError, WireError } from "../../bus-schemas/index.ts";
import { isInvitation, readInviteToken, readJoinToken } from "../../service/access/join-token.ts";
import { readMember, type Member } from "../membership.ts";
import { findAccount } from "./account.ts";
import type { Layout } from "./layout.ts";
import type { Machine } from "./machine.ts";

/** Two tries of ten seconds each, and a start. Milliseconds. */
const JOIN_LIMIT_MS = 60_000;

/** @throws MeshError `bad_config` for what is no token or invitation, or is too old by this machine's clock, and says which of the two may be wrong */
export function checkToken(text: string, nowMs: number): void {
  const { what, again, expires_unix_ms: endMs } = kindOf(text);
  if (endMs > nowMs) return;
  const iso = (ms: number) => new Date(ms).toISOString();
  throw new MeshError(
    "bad_config",
    `the ${what} was good until ${iso(endMs)}, and here it is ${iso(nowMs)}; if this clock is right ask for a new one (${again}), else set it (timedatectl set-ntp true)`,
    { field: "join" },
  );
}

function kindOf(text: string): { what: string; again: string; expires_unix_ms: number } {
  if (isInvitation(text)) return { what: "invitation", again: "tiermesh node invite", ...readInviteToken(text) };
  const token = readJoinToken(text);
  return { what: "join token", again: `tiermesh node add ${token.node} --replace`, ...token };
}

/** The membership of the installed agent, as root may read it. @throws MeshError `bad_config` when it is damaged */
export function installedMember(machine: Machine, layout: Layout): Member | undefined {
  return readMember(machine.at(layout.stateDir));
}

/**
 * Joins as the agent's own account, so that key and membership are its from the first byte on; the token goes over a pipe, where no
 * list of processes shows it.
 * @throws MeshError what `joinMesh` says
 */
export async function joinAsService(
  machine: Machine,
  layout: Layout,
  token: string,
  program = layout.executable,
): Promise<void> {
  const account = await findAccount(machine, layout.account);
  const { PATH, SystemRoot } = machine.env;
  const child = spawn(program, ["join", "-", "--json"], {
    ...account,
    cwd: layout.stateDir,
    timeout: JOIN_LIMIT_MS,
    windowsHide: true,
    env: { PATH, SystemRoot, TIERMESH_HOME: layout.stateDir, TIERMESH_CACHE_DIR: layout.cacheDir },
  });
  child.stdin.on("error", () => undefined);
  child.stdin.end(token);
  const ended = new Promise<number | null>((resolve) => {
    child.on("error", () => resolve(null));
    child.on("exit", resolve);
  });
  const [code, stdout, stderr] = await Promise.all([ended, readAll(child.stdout), readAll(child.stderr)]);
  if (code === 0) return;
  throw refusal(stdout) ?? new MeshError("internal", `${program} join failed: ${stderr.trim().slice(-500)}`);
}

function refusal(stdout: string): MeshError | undefined {
  try {
    return MeshError.fromWire(WireError.parse((JSON.parse(stdout) as { error: unknown }).error));
  } catch {
    return undefined;
  }
}
