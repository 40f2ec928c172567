import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { MeshError } from "../../bus-schemas/index.ts";
import type { GuardianReport } from "./guardian.ts";
import { within } from "../within.ts";
import { endProcess } from "./leftover.ts";

/** How a server ended: by itself or when asked (`code`; servers before 2.10 say 1 when asked), or killed (`signal`). */
export interface ServerExit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface GuardedServer {
  /** The server's own process id, not the guardian's. */
  pid: number;
  guardianPid: number;
  /** Resolves, never rejects, when the server and its guardian are both gone. */
  exited: Promise<ServerExit>;
  /** Asks the server to end in order; it is killed if it takes longer than five seconds. */
  stop(): Promise<void>;
  /** Asks a server of a cluster to send its clients to the others and then to end; stops it if that takes too long. */
  leave(): Promise<void>;
}

/** A leaving server sends off about one client a second, and all within 30 s (server-config.ts), milliseconds. */
const LEAVE_LIMIT_MS = 40_000;

const GUARDIAN = fileURLToPath(new URL("guardian.ts", import.meta.url));

/**
 * Starts a nats-server under a guardian (see guardian.ts), so that it ends when this process does, however that is.
 * @throws MeshError `bus_unavailable` when the program cannot be started at all.
 */
export async function startGuarded(
  binary: string,
  args: readonly string[],
  onLog: (line: string) => void,
): Promise<GuardedServer> {
  const guardian = spawn(process.execPath, [GUARDIAN, binary, ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    // A group of its own: Ctrl-C reaches this process, which then stops the bus last.
    detached: true,
    windowsHide: true,
    // What this process was started with for itself, such as a debugger's port, is not for the guardian.
    env: { ...process.env, NODE_OPTIONS: "", NODE_CHANNEL_FD: undefined },
  });
  guardian.stdin.on("error", () => {});
  createInterface({ input: guardian.stderr }).on("line", onLog);

  const started = Promise.withResolvers<number>();
  const closed = closeOf(guardian);
  let reported: ServerExit | undefined;
  let serverPid: number | undefined;
  createInterface({ input: guardian.stdout }).on("line", (line) => {
    const report = JSON.parse(line) as GuardianReport;
    if (report.event === "started") started.resolve((serverPid = report.pid));
    else if (report.event === "exited") reported = { code: report.code, signal: report.signal };
    else started.reject(new MeshError("bus_unavailable", `nats-server cannot be started: ${report.message}`));
  });

  const exited = closed.then(async (): Promise<ServerExit> => {
    started.reject(new MeshError("bus_unavailable", "the bus's guardian ended before the server started"));
    if (reported !== undefined || serverPid === undefined) return reported ?? { code: null, signal: null };
    // The guardian itself was killed: its server must not go on without it.
    await endProcess(serverPid, 0);
    return { code: null, signal: "SIGKILL" };
  });
  const pid = await started.promise;
  const stop = async () => {
    guardian.stdin.end();
    await exited;
  };
  return {
    pid,
    guardianPid: guardian.pid ?? 0,
    exited,
    stop,
    leave: async () => {
      // There is no such signal on Windows.
      if (process.platform === "win32" || !told(pid, "SIGUSR2")) return stop();
      if (!(await within(exited, LEAVE_LIMIT_MS))) await stop();
    },
  };
}

function told(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false; // it is gone
  }
}

/** When the process has ended and all its output has been read; also when it could not be started. */
function closeOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.on("close", () => resolve());
    child.on("error", () => resolve());
  });
}
