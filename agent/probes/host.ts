import { open, readdir, statfs } from "node:fs/promises";
import os from "node:os";
import { cpuTemperature, mem } from "systeminformation";
import { pause } from "../../service/loop.ts";
import type { CommandRunner } from "./command.ts";
import { loadNvml } from "./nvidia/nvml-koffi.ts";
import type { ProbeHost } from "./probe.ts";

/** `nvidia-smi -q` of 16 GPUs with 7 MIG instances each is about 1 MB. */
const MAX_OUTPUT_BYTES = 4 * 1024 * 1024;
/** What probes read by `readText` are single values and short tables. */
const MAX_FILE_BYTES = 64 * 1024;

export interface HostOptions {
  stateDir: string;
  commands: CommandRunner;
  env?: Readonly<Record<string, string | undefined>>;
}

/** This machine. Parts of systeminformation block the thread they run on (execSync): only for the probes' own process. */
export function createHost({ stateDir, commands, env = process.env }: HostOptions): ProbeHost {
  // nvidia-smi writes in English everywhere, but the decimal point is the locale's.
  const limits = { maxOutputBytes: MAX_OUTPUT_BYTES, env: { ...env, LC_ALL: "C" } };
  return {
    platform: process.platform,
    arch: process.arch,
    env,
    stateDir,
    nowMs: Date.now,
    pause,
    run: (program, args, { timeoutMs }, signal) => commands.run(program, args, { ...limits, timeoutMs }, signal),
    follow: (program, args, onLine, signal) => commands.follow(program, args, limits.env, onLine, signal),
    nvml: () => loadNvml(process.platform, env),
    readText,
    list: (path) => readdir(path).catch(() => []),
    cores: os.cpus,
    memory: async () => {
      const { total, available } = await mem();
      return { totalBytes: total, availableBytes: available };
    },
    cpuTemperature,
    diskFreeBytes: async (path) => {
      const { bavail, bsize } = await statfs(path);
      return bavail * bsize;
    },
  };
}

/** Files of the kernel have no size: read to the end, or to the bound. */
async function readText(path: string): Promise<string | null> {
  try {
    await using file = await open(path, "r");
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(MAX_FILE_BYTES) });
    return buffer.toString("utf8", 0, bytesRead);
  } catch {
    return null;
  }
}
