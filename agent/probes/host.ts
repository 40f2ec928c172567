import { statfs } from "node:fs/promises";
import os from "node:os";
import { cpuTemperature, mem } from "systeminformation";
import { pause } from "../../service/loop.ts";
import type { CommandRunner } from "./command.ts";
import type { ProbeHost } from "./probe.ts";

/** `nvidia-smi -q` of 16 GPUs with 7 MIG instances each is about 1 MB. */
const MAX_OUTPUT_BYTES = 4 * 1024 * 1024;

export interface HostOptions {
  stateDir: string;
  commands: CommandRunner;
  env?: Readonly<Record<string, string | undefined>>;
}

/** This machine. Parts of systeminformation block the thread they run on (execSync): only for the probes' own thread. */
export function createHost({ stateDir, commands, env = process.env }: HostOptions): ProbeHost {
  return {
    platform: process.platform,
    arch: process.arch,
    env,
    stateDir,
    nowMs: Date.now,
    pause,
    // nvidia-smi writes in English everywhere, but the decimal point is the locale's.
    run: (program, args, { timeoutMs }, signal) =>
      commands.run(
        program,
        args,
        { timeoutMs, maxOutputBytes: MAX_OUTPUT_BYTES, env: { ...env, LC_ALL: "C" } },
        signal,
      ),
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
