import type { ProcessRow } from "./process-table.ts";

/** How Linux cuts names of processes, characters (proc(5): comm). */
const LINUX_NAME_LENGTH = 15;

/**
 * Names of runtimes' processes, as their beginnings: what these use is ours while we run jobs. A runtime under another name, as a Python
 * program of somebody's own, is not recognised; see {@link OtherCpu}.
 */
const RUNTIMES = [
  "ollama",
  "llama-server",
  "llama_server",
  "vllm",
  "sglang",
  "lm studio",
  "lm-studio",
  "lms",
  "xinference",
  "mlx_lm",
];

/** The first of `apps` that runs, as it was configured. Upper and lower case do not matter, nor does `.exe` or `.app`. */
export function runningApp(
  rows: readonly ProcessRow[],
  apps: readonly string[],
  platform: NodeJS.Platform,
): string | undefined {
  const names = new Set(rows.flatMap(namesOf).map(plain));
  const isThere = (app: string) => names.has(plain(app));
  return apps.find((app) => isThere(app) || (platform === "linux" && isThere(app.slice(0, LINUX_NAME_LENGTH))));
}

function namesOf({ name, program }: ProcessRow): string[] {
  return program === null ? [name] : [name, program];
}

function isRuntime(row: ProcessRow): boolean {
  return namesOf(row).some((name) => RUNTIMES.some((start) => name.toLowerCase().startsWith(start)));
}

function plain(name: string): string {
  return name.toLowerCase().replace(/\.(?:exe|app)$/, "");
}

/** A runtime that works for a job takes at least so much of one core; the agent's own looking around takes a tenth of that. */
const AT_WORK = 0.05;

/** Processor time of the whole machine since its start, all cores together, milliseconds. */
export interface MachineTimes {
  cores: number;
  busyMs: number;
  totalMs: number;
}

interface Sample extends MachineTimes {
  cpuMs: ReadonlyMap<number, number>;
}

/**
 * The share of all processors that others than the mesh use: what the machine used between two looks, less what this agent, its children
 * and known runtimes did. It is an estimate: a runtime also works for others, and then that counts as ours. While jobs of ours run
 * and no runtime's process is seen to work, nobody can tell whose the load is: null. The same without processes' times (Windows).
 */
export class OtherCpu {
  readonly #ownPid: number;
  #before: Sample | undefined;

  constructor(ownPid: number) {
    this.#ownPid = ownPid;
  }

  /** @param jobs that run here. @returns null when it is not known, as at the first look */
  look(rows: readonly ProcessRow[], machine: MachineTimes, jobs: number): number | null {
    const before = this.#before;
    const cpuMs = new Map(rows.flatMap((row) => (row.cpuMs === null ? [] : [[row.pid, row.cpuMs] as const])));
    this.#before = { ...machine, cpuMs };
    if (before === undefined) return null;
    const totalMs = machine.totalMs - before.totalMs;
    const busyMs = machine.busyMs - before.busyMs;
    if (!(totalMs > 0) || busyMs < 0) return null;
    const used = ({ pid }: ProcessRow) => Math.max(0, (cpuMs.get(pid) ?? 0) - (before.cpuMs.get(pid) ?? 0));
    const runtimes = below(rows, isRuntime);
    const own = below(rows, ({ pid }) => pid === this.#ownPid);
    const runtimesMs = sum([...runtimes].filter((row) => !own.has(row)).map(used));
    const childrenMs = sum([...own].filter(({ pid }) => pid !== this.#ownPid).map(used));
    if (jobs > 0 && runtimesMs + childrenMs < (AT_WORK * totalMs) / machine.cores) return null;
    const ownMs = sum([...own].map(used));
    return Math.min(1, Math.max(0, (busyMs - runtimesMs - ownMs) / totalMs));
  }

  /** The next look has nothing to compare with. */
  forget(): void {
    this.#before = undefined;
  }
}

/** The rows that are meant, and their descendants. */
function below(rows: readonly ProcessRow[], meant: (row: ProcessRow) => boolean): Set<ProcessRow> {
  const found = new Set(rows.filter(meant));
  const pids = new Set([...found].map(({ pid }) => pid));
  for (let before = -1; before !== found.size;) {
    before = found.size;
    for (const row of rows) {
      if (found.has(row) || !pids.has(row.parent)) continue;
      found.add(row);
      pids.add(row.pid);
    }
  }
  return found;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
