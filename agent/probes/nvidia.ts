import { win32 } from "node:path";
import type { Gpu } from "../../bus-schemas/node-record.ts";
import { CommandError } from "./command.ts";
import { FULL_QUERY, parseGpus, unknownField, withoutField, type Query } from "./nvidia-csv.ts";
import { migInstances, parseMigList, parseMigMemory } from "./nvidia-mig.ts";
import { ProbeError, type CommandOutput, type Probe, type ProbeHost, type Reading } from "./probe.ts";

/** One question to nvidia-smi. Without the persistence daemon it wakes every card first, seconds on a big server. Milliseconds. */
const COMMAND_TIMEOUT_MS = 10_000;
/** A machine without nvidia-smi is asked again this often, milliseconds: somebody may install a driver. */
const SEARCH_AGAIN_MS = 60_000;
/** MIG devices change only by an administrator's hand, and `-q` is slow. Milliseconds. */
const MIG_AGAIN_MS = 30_000;
/** Most GPUs that a node record carries. */
const MAX_GPUS = 64;
/** Documented exit code of nvidia-smi: a query to find an object was unsuccessful. */
const EXIT_NO_DEVICES = 6;

interface MigPicture {
  atMs: number;
  listed: ReturnType<typeof parseMigList>;
  memory: ReturnType<typeof parseMigMemory>;
}

/** NVIDIA cards by nvidia-smi, on Linux (WSL too) and Windows. No nvidia-smi, or no card: []. */
export function createNvidiaProbe({ commandTimeoutMs = COMMAND_TIMEOUT_MS } = {}): Probe {
  let program: string | undefined;
  let missingSinceMs: number | undefined;
  let query: Query = FULL_QUERY;
  let mig: MigPicture | undefined;

  async function ask(host: ProbeHost, args: string[], signal: AbortSignal): Promise<CommandOutput | undefined> {
    for (const candidate of program === undefined ? candidates(host) : [program]) {
      try {
        const output = await host.run(candidate, args, { timeoutMs: commandTimeoutMs }, signal);
        program = candidate;
        return output;
      } catch (error) {
        if (!(error instanceof CommandError)) throw error;
        if (error.failure !== "not_found") throw new ProbeError(explain(error, commandTimeoutMs));
      }
    }
    program = undefined;
    return undefined;
  }

  /** Asks for as much as this driver understands, and remembers what that was. */
  async function queryGpus(host: ProbeHost, signal: AbortSignal): Promise<CommandOutput | undefined> {
    for (;;) {
      const fields = query.map((entry) => entry.ask).join(",");
      const output = await ask(host, [`--query-gpu=${fields}`, "--format=csv,noheader,nounits"], signal);
      const refused =
        output === undefined || output.code === 0 ? undefined : unknownField(output.stdout + output.stderr);
      if (refused === undefined) return output;
      const smaller = withoutField(query, refused);
      if (smaller === undefined) throw new ProbeError("nvidia-smi does not know the fields that every driver knows");
      query = smaller;
    }
  }

  async function addMig(host: ProbeHost, gpus: Gpu[], signal: AbortSignal): Promise<string | undefined> {
    if (!gpus.some((gpu) => gpu.mig_mode === true)) {
      mig = undefined;
      return undefined;
    }
    const nowMs = host.nowMs();
    if (mig === undefined || nowMs - mig.atMs >= MIG_AGAIN_MS || nowMs < mig.atMs) {
      const list = await ask(host, ["-L"], signal);
      const details = await ask(host, ["-q"], signal);
      if (list?.code !== 0 || details?.code !== 0)
        return `MIG devices unknown: ${failure(list?.code === 0 ? details : list)}`;
      mig = { atMs: nowMs, listed: parseMigList(list.stdout), memory: parseMigMemory(details.stdout) };
    }
    for (const gpu of gpus) {
      if (gpu.mig_mode === true) gpu.mig_instances = migInstances(gpu.uuid, mig.listed, mig.memory);
    }
    return undefined;
  }

  return {
    name: "nvidia",
    fills: "gpus",
    everyMs: 2000,
    timeoutMs: 2 * commandTimeoutMs,
    async probe(host, signal) {
      const nowMs = host.nowMs();
      const missingMs = missingSinceMs === undefined ? undefined : nowMs - missingSinceMs;
      if (missingMs !== undefined && missingMs >= 0 && missingMs < SEARCH_AGAIN_MS) return NO_TOOL;
      const output = await queryGpus(host, signal);
      missingSinceMs = output === undefined ? nowMs : undefined;
      if (output === undefined) return NO_TOOL;
      if (/No devices were found/i.test(output.stdout) || output.code === EXIT_NO_DEVICES) {
        return { values: { gpus: [] }, how: "nvidia-smi found no NVIDIA GPU" };
      }
      const { gpus, unreadable } = parseGpus(output.stdout, query, new Date(host.nowMs()).toISOString());
      if (gpus.length === 0) throw new ProbeError(failure(output));
      const seen = gpus.slice(0, MAX_GPUS);
      const problems = [
        output.code === 0 ? undefined : failure(output),
        unreadable === 0 || output.code !== 0 ? undefined : `nvidia-smi: ${unreadable} of its lines cannot be read`,
        gpus.length > MAX_GPUS ? `nvidia-smi lists ${gpus.length} GPUs; the first ${MAX_GPUS} are reported` : undefined,
        await addMig(host, seen, signal).catch((error: unknown) => `MIG devices unknown: ${(error as Error).message}`),
      ].filter((problem) => problem !== undefined);
      const how = `${program ?? "nvidia-smi"} --query-gpu`;
      return { values: { gpus: seen }, how, ...(problems.length === 0 ? {} : { problem: problems.join("; ") }) };
    },
  };
}

const NO_TOOL: Reading = { values: { gpus: [] }, how: "no nvidia-smi here, so no usable NVIDIA GPU" };

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

function explain({ failure: kind }: CommandError, timeoutMs: number): string {
  if (kind === "timeout") return `nvidia-smi did not answer within ${timeoutMs / 1000} s and was killed`;
  if (kind === "unkillable")
    return "nvidia-smi hangs in the driver and cannot be killed; it is not started again until it ends";
  if (kind === "still_running") return "an earlier nvidia-smi has not ended; no other is started";
  if (kind === "too_large") return "nvidia-smi wrote far too much and was killed";
  if (kind === "denied") return "nvidia-smi may not be run by this user";
  return kind === "aborted" ? "nvidia-smi was stopped before it answered" : "nvidia-smi cannot be started";
}

/** nvidia-smi writes its errors to standard output. The first line says what is wrong. */
function failure(output: CommandOutput | undefined): string {
  const said = `${output?.stdout ?? ""}\n${output?.stderr ?? ""}`.split("\n").find((line) => line.trim() !== "");
  const printable = said
    ?.replace(/[^\x20-\x7e]/g, "?")
    .trim()
    .slice(0, 200);
  return `nvidia-smi answered ${printable === undefined ? "nothing" : `"${printable}"`} (exit code ${output?.code ?? "none"})`;
}
