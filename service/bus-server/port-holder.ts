import { readdir, readFile, readlink } from "node:fs/promises";
import path from "node:path";
import { runCommand } from "../run-command.ts";
import { commandOf } from "../process-info.ts";

export interface PortHolder {
  pid: number;
  /** Its command line; empty when the system does not tell. */
  command: string;
}

/**
 * Which process listens on this TCP port of this machine. Undefined when nobody does, and when it cannot be told:
 * another user's process, seen without root.
 */
export async function whoHoldsPort(port: number): Promise<PortHolder | undefined> {
  const pid = await listenerPid(port);
  return pid === undefined ? undefined : { pid, command: (await commandOf(pid)) ?? "" };
}

/** `pid 4711 (nats-server -c …)`, or what to say when nobody can be named. */
export function describeHolder(holder: PortHolder | undefined): string {
  if (holder === undefined) return "another process, which this user may not see";
  const command = holder.command.length > 200 ? `${holder.command.slice(0, 200)}…` : holder.command;
  return command === "" ? `pid ${holder.pid}` : `pid ${holder.pid} (${command})`;
}

async function listenerPid(port: number): Promise<number | undefined> {
  if (process.platform === "linux") {
    const tables = await Promise.all(
      ["/proc/net/tcp", "/proc/net/tcp6"].map((file) => readFile(file, "utf8").catch(() => "")),
    );
    const inodes = new Set(tables.flatMap((table) => listenInodes(table, port)));
    return inodes.size === 0 ? undefined : pidWithSocket(inodes);
  }
  if (process.platform === "win32") {
    return netstatPid((await runCommand("netstat", ["-ano"], { timeoutMs: 10_000 })).stdout, port);
  }
  const lsof = await runCommand("lsof", ["-nP", `-iTCP:${port}`, "-sTCP:LISTEN", "-Fp"], { timeoutMs: 10_000 });
  return lsofPid(lsof.stdout);
}

/** Inodes of the sockets that listen on `port`, from a /proc/net/tcp or tcp6 table (proc(5); state 0A is LISTEN). */
export function listenInodes(table: string, port: number): string[] {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  return table.split("\n").flatMap((line) => {
    const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
    return state === "0A" && local?.endsWith(`:${hex}`) === true && inode !== undefined ? [inode] : [];
  });
}

/** The first process in `lsof -Fp` output (`p<pid>` lines). */
export function lsofPid(output: string): number | undefined {
  const match = /^p(\d+)$/m.exec(output);
  return match === null ? undefined : Number(match[1]);
}

/**
 * The listener on `port` in Windows `netstat -ano` output. The word for LISTENING is translated on localised Windows,
 * so a listener is known by its foreign address, which has port 0.
 */
export function netstatPid(output: string, port: number): number | undefined {
  for (const line of output.split(/\r?\n/)) {
    const [protocol, local, foreign, , pid] = line.trim().split(/\s+/);
    if (protocol === "TCP" && local?.endsWith(`:${port}`) === true && foreign?.endsWith(":0") === true) {
      return pid === undefined ? undefined : Number(pid);
    }
  }
  return undefined;
}

async function pidWithSocket(inodes: ReadonlySet<string>): Promise<number | undefined> {
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const folder = path.join("/proc", name, "fd");
    // Processes end while we look, and others' are closed to us: both just do not match.
    const descriptors = await readdir(folder).catch(() => []);
    for (const descriptor of descriptors) {
      const target = await readlink(path.join(folder, descriptor)).catch(() => "");
      const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
      if (inode !== undefined && inodes.has(inode)) return Number(name);
    }
  }
  return undefined;
}
