import { readFileSync, readdirSync } from "node:fs";

/** What a process takes of this machine, by /proc (Linux only). */
export interface Usage {
  /** Memory that it has in use, MB of 2^20 bytes: all pages, those that it shares with others counted whole. */
  rssMb: number;
  /** The same with each shared page divided by how many share it: what it takes beside the others that run. */
  pssMb: number;
  /** Its own pages alone. */
  ownMb: number;
  /** CPU time so far, all its threads, milliseconds; by the kernel's clock of 10 ms. */
  cpuMs: number;
  /** CPU time of the programs that it ran and that have ended, milliseconds. */
  toolsCpuMs: number;
  /** Open files, sockets and pipes. */
  handles: number;
}

/** The kernel counts CPU time in hundredths of a second (USER_HZ). */
const TICK_MS = 10;

/** @throws when there is no such process, or no /proc */
export function usageOf(pid: number): Usage {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The second field, the name, may itself hold spaces and brackets; utime is the 14th.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [user = 0, system = 0, toolsUser = 0, toolsSystem = 0] = fields.slice(11, 15).map(Number);
  const smaps = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const mb = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+) kB$`, "m").exec(smaps)?.[1] ?? Number.NaN) / 1024;
  return {
    rssMb: mb("Rss"),
    pssMb: mb("Pss"),
    ownMb: mb("Private_Clean") + mb("Private_Dirty"),
    cpuMs: (user + system) * TICK_MS,
    toolsCpuMs: (toolsUser + toolsSystem) * TICK_MS,
    handles: readdirSync(`/proc/${pid}/fd`).length,
  };
}
