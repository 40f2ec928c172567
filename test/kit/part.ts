import { spawn, type ChildProcess } from "node:child_process";
import { appendFileSync, mkdirSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import type { Host } from "./hosts.ts";

/** A program of a test's mesh, as a service manager keeps it: started again when it ends by itself. */
export interface PartSpec {
  name: string;
  host: Host;
  /** A `.ts` file, its arguments and variables. */
  entry: string;
  args: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
  /** A line of its standard output that says that it serves; its JSON is kept as `facts`. */
  ready: RegExp;
  logDir: string;
}

/** As systemd's `RestartSec`, milliseconds. */
const RESTART_AFTER_MS = 300;
const READY_LIMIT_MS = 60_000;

export class Part {
  readonly name: string;
  readonly host: Host;
  restarts = 0;
  /** What its last ready line said. */
  facts: Record<string, unknown> = {};
  readonly #spec: PartSpec;
  #child: ChildProcess | undefined;
  #wanted = false;
  #isReady = false;
  #waiting: (() => void)[] = [];

  constructor(spec: PartSpec) {
    this.#spec = spec;
    this.name = spec.name;
    this.host = spec.host;
    mkdirSync(spec.logDir, { recursive: true });
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  /** Its log file. */
  get log(): string {
    return path.join(this.#spec.logDir, `${this.name}.log`);
  }

  /** Starts it and keeps it running; resolves when it serves. */
  async start(): Promise<void> {
    this.#wanted = true;
    if (this.#child === undefined) this.#spawn();
    await this.whenReady();
  }

  /** @throws Error naming the log when it does not get ready in time */
  async whenReady(limitMs = READY_LIMIT_MS): Promise<void> {
    if (this.#isReady) return;
    const ready = new Promise<void>((resolve) => this.#waiting.push(resolve));
    const late = pause(limitMs, "late", { ref: false });
    if ((await Promise.race([ready, late])) === "late")
      throw new Error(`${this.name} is not ready within ${limitMs} ms; see ${this.log}`);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** An orderly stop; it stays down until `start()`. @returns its exit code, or the signal that killed it at the limit */
  async stop(limitMs = 60_000): Promise<number | string | null> {
    this.#wanted = false;
    const child = this.#child;
    if (child === undefined) return null;
    const exited = new Promise<number | string | null>((resolve) =>
      child.once("exit", (code, signal) => resolve(code ?? signal)),
    );
    child.kill("SIGCONT");
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), limitMs);
    const exit = await exited;
    clearTimeout(timer);
    return exit;
  }

  #spawn(): void {
    const { args, entry, env, host, ready } = this.#spec;
    const [command = "", ...rest] = [...host.prefix, process.execPath, entry, ...args];
    const child = spawn(command, rest, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NODE_OPTIONS: undefined, NODE_CHANNEL_FD: undefined, ...env },
    });
    this.#child = child;
    createInterface({ input: child.stdout }).on("line", (line) => {
      this.#write(line);
      if (!ready.test(line) || this.#child !== child) return;
      this.facts = JSON.parse(line) as Record<string, unknown>;
      this.#isReady = true;
      for (const tell of this.#waiting.splice(0)) tell();
    });
    createInterface({ input: child.stderr }).on("line", (line) => this.#write(line));
    child.on("exit", (code, signal) => {
      this.#write(`-- ended: ${signal ?? code} at ${new Date().toISOString()}`);
      this.#child = undefined;
      this.#isReady = false;
      if (!this.#wanted) return;
      this.restarts++;
      setTimeout(() => {
        if (this.#wanted && this.#child === undefined) this.#spawn();
      }, RESTART_AFTER_MS);
    });
  }

  #write(line: string): void {
    appendFileSync(this.log, `${line}\n`);
  }
}
