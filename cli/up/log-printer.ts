import { dim, yellow } from "../format/terminal.ts";

/** pino's level numbers. */
const WARN = 40;

/** Shows what a person at the terminal should see of the processes' logs: progress, warnings and errors. */
export class LogPrinter {
  readonly #print: (line: string) => void;

  constructor(print: (line: string) => void) {
    this.#print = print;
  }

  onLine(process: string, line: string): void {
    let entry: { level?: unknown; msg?: unknown; progress?: unknown; err?: { message?: unknown } | null } | null;
    try {
      entry = JSON.parse(line) as typeof entry;
    } catch {
      // Not a log line: a crash's stack. It is in the log file; here its first line says enough.
      if (/^\S*Error\b/.test(line)) this.#print(yellow(`${process.padEnd(10)} ${line.slice(0, 200)}`));
      return;
    }
    if (entry === null) return;
    const text = typeof entry.msg === "string" ? entry.msg : "";
    if (entry.progress === true) this.#print(dim(`${process.padEnd(10)} ${text}`));
    else if (typeof entry.level === "number" && entry.level >= WARN) {
      const cause = typeof entry.err?.message === "string" ? `: ${entry.err.message}` : "";
      this.#print(yellow(`${process.padEnd(10)} ${text}${cause}`));
    }
  }
}
