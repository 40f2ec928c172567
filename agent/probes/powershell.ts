import { win32 } from "node:path";
import type { ProbeHost } from "./probe.ts";
import { Remembered } from "./remember.ts";
import { ask, type Tool } from "./tool.ts";

/** A start of PowerShell costs half a second of a core: none of its questions is asked oftener than so. Milliseconds. */
const EVERY_MS = 120_000;
const answers = new WeakMap<ProbeHost, Map<string, Remembered<string | undefined>>>();

/** The answer of Windows PowerShell (5.1, part of Windows) to a question, at most two minutes old. undefined = there is none. */
export function askPowerShell(
  host: ProbeHost,
  name: string,
  question: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const mine = answers.get(host) ?? new Map<string, Remembered<string | undefined>>();
  answers.set(host, mine);
  const answer = mine.get(name) ?? new Remembered<string | undefined>(EVERY_MS);
  mine.set(name, answer);
  const systemRoot = host.env["SystemRoot"] ?? "C:\\Windows";
  const program = win32.join(systemRoot, "System32", "WindowsPowerShell", "v1.0", "powershell.exe");
  const tool: Tool = { name: "powershell", programs: [program], timeoutMs: 10_000 };
  return answer.get(host.nowMs(), () =>
    ask(host, tool, ["-NoProfile", "-NonInteractive", "-Command", question], signal),
  );
}
