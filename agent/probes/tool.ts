import { CommandError } from "./command.ts";
import { ProbeError, type CommandOutput, type ProbeHost } from "./probe.ts";

/** A program that tells something of the machine. */
export interface Tool {
  /** Its usual name, for people. */
  name: string;
  /** Where it may be, best first: services often have a short PATH. Only its name when left out. */
  programs?: readonly string[];
  /** One question to it is stopped after this time, milliseconds. */
  timeoutMs: number;
}

/**
 * The end of the last question to each program, by machine. Two probes may ask one program (`pmset`, `ioreg`, `powershell`);
 * a program runs at most once at a time, so the second waits its turn.
 */
const turns = new WeakMap<ProbeHost, Map<string, Promise<unknown>>>();

/**
 * What `tool` writes to standard output. undefined = this machine has no such program.
 * @throws ProbeError in words for people: it hangs, may not be run, ended with an error.
 */
export async function ask(
  host: ProbeHost,
  tool: Tool,
  args: readonly string[],
  signal: AbortSignal,
): Promise<string | undefined> {
  const output = await run(host, tool, args, signal);
  if (output === undefined) return undefined;
  if (output.code !== 0) throw new ProbeError(complaint(tool.name, output));
  return output.stdout;
}

/** As `ask`, for a tool whose exit codes say more than that it failed. */
export async function run(
  host: ProbeHost,
  tool: Tool,
  args: readonly string[],
  signal: AbortSignal,
): Promise<CommandOutput | undefined> {
  const mine = turns.get(host) ?? new Map<string, Promise<unknown>>();
  turns.set(host, mine);
  const before = mine.get(tool.name) ?? Promise.resolve();
  const answer = before.then(() => start(host, tool, args, signal));
  mine.set(
    tool.name,
    answer.catch(() => undefined),
  );
  return answer;
}

async function start(
  host: ProbeHost,
  tool: Tool,
  args: readonly string[],
  signal: AbortSignal,
): Promise<CommandOutput | undefined> {
  for (const program of tool.programs ?? [tool.name]) {
    try {
      return await host.run(program, args, { timeoutMs: tool.timeoutMs }, signal);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      if (error.failure !== "not_found") throw new ProbeError(`${tool.name} ${WHY[error.failure]}`);
    }
  }
  return undefined;
}

const WHY: Record<Exclude<CommandError["failure"], "not_found">, string> = {
  denied: "may not be run by this user",
  broken: "cannot be started",
  timeout: "did not answer in time and was killed",
  too_large: "wrote far too much and was killed",
  aborted: "was stopped before it answered",
  unkillable: "hangs in the driver and cannot be killed; it is not started again until it ends",
  still_running: "has not ended since it was asked before; no other is started",
};

/** What `tool` said instead of an answer: its first line that says something, made harmless. */
export function complaint(name: string, { code, stdout, stderr }: CommandOutput): string {
  const said = `${stderr}\n${stdout}`.split("\n").find((line) => /[\p{L}\p{N}]/u.test(line));
  const printable = said
    ?.replace(/[^\x20-\x7e]/g, "?")
    .trim()
    .slice(0, 200);
  return `${name} answered ${printable === undefined ? "nothing" : `"${printable}"`} (exit code ${code ?? "none"})`;
}

/** An answer that is none although the tool ended well. */
export function unreadable(name: string, stdout: string): ProbeError {
  return new ProbeError(complaint(name, { code: 0, stdout, stderr: "" }));
}

/**
 * The JSON in a tool's answer; some write warnings before it. @throws ProbeError when there is none.
 */
export function readJson(name: string, stdout: string): unknown {
  const start = stdout.search(/^\s*[{[]/m);
  if (start === -1) throw unreadable(name, stdout);
  try {
    return JSON.parse(stdout.slice(start));
  } catch {
    throw unreadable(name, stdout);
  }
}

/** `value[key]` when `value` is an object, else undefined: the way down an answer that may be anything. */
export function at(value: unknown, ...keys: readonly (string | number)[]): unknown {
  let here = value;
  for (const key of keys) {
    if (typeof here !== "object" || here === null) return undefined;
    here = (here as Record<string | number, unknown>)[key];
  }
  return here;
}

/** The elements of a list; [] for anything else. */
export function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}
