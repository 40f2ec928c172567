import { win32 } from "node:path";
import { CommandError } from "../command.ts";
import type { CommandOutput, ProbeHost } from "../probe.ts";
import { FULL_QUERY, unknownField, withoutField, type Query } from "./csv.ts";
import { StepError } from "./step.ts";

/** One question to nvidia-smi. Without the persistence daemon it wakes every card first, seconds on a big server. Milliseconds. */
export const COMMAND_TIMEOUT_MS = 10_000;
/** Documented exit code of nvidia-smi: a query to find an object was unsuccessful. */
const EXIT_NO_DEVICES = 6;

/** nvidia-smi of one machine: where it is, and which fields its driver knows. The steps that use it share what they learned. */
export class Smi {
  readonly timeoutMs: number;
  #program: string | undefined;
  #query: Query = FULL_QUERY;

  constructor(timeoutMs: number) {
    this.timeoutMs = timeoutMs;
  }

  get program(): string {
    return this.#program ?? "nvidia-smi";
  }

  get query(): Query {
    return this.#query;
  }

  /** The question of `--query-gpu`, as this driver understands it. */
  get queryArgs(): string[] {
    return [`--query-gpu=${this.#query.map((entry) => entry.ask).join(",")}`, "--format=csv,noheader,nounits"];
  }

  /** @throws StepError when there is no nvidia-smi, or it cannot be run or does not end */
  run(host: ProbeHost, args: readonly string[], signal: AbortSignal): Promise<CommandOutput> {
    return this.start(host, (program) => host.run(program, args, { timeoutMs: this.timeoutMs }, signal));
  }

  /** Starts nvidia-smi by `start`, wherever it is. @throws StepError as `run` */
  async start<T>(host: ProbeHost, start: (program: string) => Promise<T>): Promise<T> {
    for (const candidate of this.#program === undefined ? candidates(host) : [this.#program]) {
      try {
        const result = await start(candidate);
        this.#program = candidate;
        return result;
      } catch (error) {
        if (!(error instanceof CommandError)) throw error;
        if (error.failure !== "not_found") throw this.#explain(error);
      }
    }
    this.#program = undefined;
    throw new StepError("absent", "not found");
  }

  /**
   * Whether the answer refuses a field: then the next question has its older name, or goes without it.
   * @throws StepError when not even the name can be asked for
   */
  learnFrom(output: CommandOutput): boolean {
    const refused = output.code === 0 ? undefined : unknownField(output.stdout + output.stderr);
    if (refused === undefined) return false;
    const smaller = withoutField(this.#query, refused);
    if (smaller === undefined)
      throw new StepError("broken", "nvidia-smi does not know the fields that every driver knows");
    this.#query = smaller;
    return true;
  }

  #explain({ failure }: CommandError): StepError {
    if (failure === "timeout")
      return new StepError("hung", `nvidia-smi did not answer within ${this.timeoutMs / 1000} s and was killed`);
    if (failure === "unkillable")
      return new StepError(
        "hung",
        "nvidia-smi hangs in the driver and cannot be killed; it is not started again until it ends",
      );
    if (failure === "still_running")
      return new StepError("hung", "an earlier nvidia-smi has not ended; no other is started");
    // The probe's time is up.
    if (failure === "aborted") return new StepError("hung", "nvidia-smi was stopped before it answered");
    if (failure === "too_large") return new StepError("broken", "nvidia-smi wrote far too much and was killed");
    if (failure === "denied") return new StepError("broken", "nvidia-smi may not be run by this user");
    return new StepError("broken", "nvidia-smi cannot be started");
  }
}

/** Where nvidia-smi lives, best first. On Windows not by bare name first: that would also look into the current folder. */
function candidates({ platform, env }: ProbeHost): string[] {
  if (platform === "win32") {
    const systemRoot = env["SystemRoot"] ?? "C:\\Windows";
    const programFiles = env["ProgramFiles"] ?? "C:\\Program Files";
    return [
      win32.join(systemRoot, "System32", "nvidia-smi.exe"),
      win32.join(programFiles, "NVIDIA Corporation", "NVSMI", "nvidia-smi.exe"),
    ];
  }
  // Services often have a short PATH; WSL puts the driver's tools into a folder of its own.
  return platform === "linux" ? ["nvidia-smi", "/usr/bin/nvidia-smi", "/usr/lib/wsl/lib/nvidia-smi"] : [];
}

/** The driver is in order and there is no card. */
export function saysNoDevices({ code, stdout }: CommandOutput): boolean {
  return code === EXIT_NO_DEVICES || /No devices were found/i.test(stdout);
}

/** Of what nvidia-smi said; several ways may have failed, and one sentence tells it all. */
const MAX_QUOTE = 120;

/** nvidia-smi writes its errors to standard output. The first line says what is wrong. */
export function smiFailure({ code, stdout, stderr }: CommandOutput): string {
  const said = `${stdout}\n${stderr}`.split("\n").find((line) => line.trim() !== "");
  const printable = said
    ?.replace(/[^\x20-\x7e]/g, "?")
    .trim()
    .slice(0, MAX_QUOTE);
  return `nvidia-smi answered ${printable === undefined ? "nothing" : `"${printable}"`} (exit code ${code ?? "none"})`;
}
