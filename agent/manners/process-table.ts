import { readFileSync, readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { runCommand } from "../../service/run-command.ts";
import { within } from "../../service/within.ts";

/** A process of this machine. */
export interface ProcessRow {
  pid: number;
  /** 0 = not told. */
  parent: number;
  /** Of its program, without a path. Linux keeps the first 15 characters, and the process may change them (proc(5): comm). */
  name: string;
  /** How it was started, without a path; null = not known, or the same as the name. */
  program: string | null;
  /** Processor time since its start, milliseconds; null = the system does not say. */
  cpuMs: number | null;
}

/** Linux counts processor time in hundredths of a second (USER_HZ of every architecture that Node runs on). */
const MS_PER_TICK = 10;
/** `ps` and `tasklist` answer within this time or are killed, milliseconds. */
const LIST_LIMIT_MS = 5000;

/** How a process was started is read within this time, or never again, milliseconds: a process may hold the lock that is needed for it. */
const COMMAND_LIMIT_MS = 1000;

/** The processes of this machine, by /proc, `ps` or `tasklist`. No root. */
export class ProcessTable {
  /** Of each process that was there at the last look, by number and start: how it was started. */
  #programs = new Map<string, string | null>();
  #commandsHang = false;

  /** @returns undefined when they cannot be listed */
  async read(signal: AbortSignal): Promise<ProcessRow[] | undefined> {
    if (process.platform === "linux") return this.#ofProc();
    const [program, args, parse] =
      process.platform === "win32"
        ? (["tasklist.exe", ["/fo", "csv", "/nh"], parseTasklist] as const)
        : (["/bin/ps", ["-axo", "pid=,ppid=,time=,comm="], parsePs] as const);
    const { code, stdout } = await runCommand(program, args, { timeoutMs: LIST_LIMIT_MS }, signal);
    const rows = code === 0 ? parse(stdout) : [];
    return rows.length === 0 ? undefined : rows;
  }

  /** Read at once: a file of /proc costs 20 microseconds so, and seven times that by way of a thread (measured). */
  async #ofProc(): Promise<ProcessRow[] | undefined> {
    const rows: ProcessRow[] = [];
    const programs = new Map<string, string | null>();
    for (const name of pidsOfProc()) {
      const stat = parseStat(statOf(name));
      if (stat === undefined) continue;
      const key = `${stat.pid}:${stat.started}`;
      const known = this.#programs.get(key);
      const program = known === undefined ? await this.#programOf(stat.pid) : known;
      programs.set(key, program);
      rows.push({ pid: stat.pid, parent: stat.parent, name: stat.name, program, cpuMs: stat.cpuMs });
    }
    this.#programs = programs;
    return rows.length === 0 ? undefined : rows;
  }

  /** By a thread, for this may hang; null = not known. */
  async #programOf(pid: number): Promise<string | null> {
    if (this.#commandsHang) return null;
    const reading = readFile(`/proc/${pid}/cmdline`, "utf8");
    const ended = within(
      reading.catch(() => ""),
      COMMAND_LIMIT_MS,
    );
    if (!(await ended)) {
      this.#commandsHang = true;
      return null;
    }
    const command = await reading.catch(() => "");
    return programIn(command);
  }
}

/** The program of a command line as /proc/<pid>/cmdline has it, words ended by NUL; null for a thread of the kernel. */
export function programIn(command: string): string | null {
  // Chrome and others write their whole command line into the first word.
  const [first = ""] = command.split("\0");
  const name = first.split("/").at(-1) ?? "";
  return name === "" ? null : name.slice(0, 100);
}

function pidsOfProc(): string[] {
  try {
    return readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
}

/** Empty for a process that has ended since it was listed. */
function statOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return "";
  }
}

/** A line of /proc/<pid>/stat, proc(5): the name is in brackets and may itself hold brackets and spaces. */
export function parseStat(text: string): (ProcessRow & { started: number }) | undefined {
  const [from, to] = [text.indexOf("("), text.lastIndexOf(")")];
  const pid = Number(text.slice(0, Math.max(from, 0)).trim());
  // The third field, the state, is the first one behind the name: parent is field 4, utime 14, stime 15, starttime 22.
  const rest = text.slice(to + 2).split(" ");
  const [parent, user, system, started] = [rest[1], rest[11], rest[12], rest[19]].map((field) => Number(field ?? NaN));
  if (from < 0 || to < from || !Number.isInteger(pid) || pid < 1) return undefined;
  if (![parent, user, system, started].every((value) => Number.isInteger(value))) return undefined;
  return {
    pid,
    parent: parent ?? 0,
    name: text.slice(from + 1, to),
    program: null,
    started: started ?? 0,
    cpuMs: ((user ?? 0) + (system ?? 0)) * MS_PER_TICK,
  };
}

/** Lines of `ps -axo pid=,ppid=,time=,comm=` on macOS: `  501     1   0:03.45 /Applications/Safari.app/…/Safari`. */
export function parsePs(text: string): ProcessRow[] {
  return text.split("\n").flatMap((line) => {
    const found = /^\s*(\d+)\s+(\d+)\s+(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)\s+(\S.*)$/.exec(line);
    if (found === null) return [];
    const [pid = 0, parent = 0, days = 0, hours = 0, minutes = 0, seconds = 0] = found
      .slice(1, 7)
      .map((part) => Number(part ?? 0));
    const name = (found[7] ?? "").trimEnd().split("/").at(-1) ?? "";
    return [
      {
        pid,
        parent,
        name,
        program: null,
        cpuMs: Math.round((((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000),
      },
    ];
  });
}

/** Lines of `tasklist /fo csv /nh`: `"chrome.exe","4711","Console","1","123,456 K"`. Times and parents it does not tell. */
export function parseTasklist(text: string): ProcessRow[] {
  return text.split("\n").flatMap((line) => {
    const found = /^"([^"]+)","(\d+)"/.exec(line);
    return found === null
      ? []
      : [{ pid: Number(found[2]), parent: 0, name: found[1] ?? "", program: null, cpuMs: null }];
  });
}
