import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { runCommand } from "./run-command.ts";

/** How long asking the operating system about a process may take, milliseconds. PowerShell needs seconds to start. */
const ASK_LIMIT_MS = 15_000;

/**
 * Whether a process with this id runs; also true for one that we may not signal. One that has ended and waits for its
 * parent to notice (a zombie) does not run: in a container whose first process collects no orphans it waits for ever.
 */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
  return process.platform !== "linux" || !isZombie(pid);
}

function isZombie(pid: number): boolean {
  try {
    return afterName(readFileSync(`/proc/${pid}/stat`, "utf8"))[0] === "Z";
  } catch {
    return true; // it went between the two looks
  }
}

/** The fields of /proc/<pid>/stat from the third on; the second is the name in brackets and may itself hold brackets. */
function afterName(stat: string): string[] {
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

/**
 * A token that a later process with the same id does not share: its start time. Undefined when there is no such
 * process or the system does not tell. The token is only good for comparing on the same machine.
 */
export async function startToken(pid: number): Promise<string | undefined> {
  if (process.platform === "linux") {
    try {
      const stat = await readFile(`/proc/${pid}/stat`, "utf8");
      const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "");
      const ticks = afterName(stat)[19]; // proc(5): starttime, field 22
      return ticks === undefined ? undefined : `${boot.trim()}:${ticks}`;
    } catch {
      return undefined;
    }
  }
  return process.platform === "win32"
    ? answer("powershell.exe", ["-NoProfile", "-Command", `(Get-Process -Id ${pid}).StartTime.ToFileTimeUtc()`])
    : answer("ps", ["-o", "lstart=", "-p", String(pid)]);
}

/** The command line of a process, or undefined when there is none or the system does not tell. */
export async function commandOf(pid: number): Promise<string | undefined> {
  if (process.platform === "linux") {
    try {
      const line = await readFile(`/proc/${pid}/cmdline`, "utf8");
      const words = line.split("\0").join(" ").trim();
      return words === "" ? undefined : words;
    } catch {
      return undefined;
    }
  }
  return process.platform === "win32"
    ? answer("powershell.exe", [
        "-NoProfile",
        "-Command",
        `(Get-CimInstance Win32_Process -Filter 'ProcessId=${pid}').CommandLine`,
      ])
    : answer("ps", ["-o", "command=", "-p", String(pid)]);
}

async function answer(program: string, args: string[]): Promise<string | undefined> {
  // ps prints times in the asking process's language and time zone; two processes must get the same token.
  const env = { ...process.env, LC_ALL: "C", TZ: "UTC" };
  const result = await runCommand(program, args, { timeoutMs: ASK_LIMIT_MS, env });
  const text = result.stdout.trim();
  return result.code === 0 && text !== "" ? text : undefined;
}
