import { open, readdir, statfs } from "node:fs/promises";
import os from "node:os";
import { join } from "node:path";
import { pause } from "../../service/loop.ts";
import type { CommandRunner } from "./command.ts";
import { KernelLog } from "./kernel-log.ts";
import { loadNvml } from "./nvidia/nvml-koffi.ts";
import type { ProbeHost } from "./probe.ts";

/** `nvidia-smi -q` of 16 GPUs with 7 MIG instances each is about 1 MB. */
const MAX_OUTPUT_BYTES = 4 * 1024 * 1024;

/** Files of sysfs are one page; anything much longer is not what a probe asked for. */
const MAX_TEXT_BYTES = 64 * 1024;

export interface HostOptions {
  stateDir: string;
  nativeDir?: string | undefined;
  commands: CommandRunner;
  env?: Readonly<Record<string, string | undefined>>;
}

/** This machine. Parts of systeminformation block the thread they run on (execSync): only for the probes' own process. */
export function createHost({ stateDir, nativeDir, commands, env = process.env }: HostOptions): ProbeHost {
  // nvidia-smi writes in English everywhere, but the decimal point is the locale's.
  const limits = { maxOutputBytes: MAX_OUTPUT_BYTES, env: { ...env, LC_ALL: "C" } };
  const kernelLog = new KernelLog();
  return {
    platform: process.platform,
    arch: process.arch,
    env,
    stateDir,
    nowMs: Date.now,
    pause,
    run: (program, args, { timeoutMs }, signal) => commands.run(program, args, { ...limits, timeoutMs }, signal),
    follow: (program, args, onLine, signal) => commands.follow(program, args, limits.env, onLine, signal),
    nvml: () => loadNvml(process.platform, env, nativeDir ?? join(stateDir, "native")),
    cores: os.cpus,
    memory,
    cpuTemperature: async () => (await systeminformation()).cpuTemperature(),
    diskFreeBytes: async (path) => {
      const { bavail, bsize } = await statfs(path);
      return bavail * bsize;
    },
    readText,
    list: (path) => readdir(path).catch(() => []),
    kernelLog: () => kernelLog.read(),
  };
}

/** Loaded where it is asked something: on Linux most machines never need its 10 MB of memory. */
const systeminformation = () => import("systeminformation");

/** Linux: proc_meminfo(5), where MemAvailable is what programs can still get; a kernel before 3.14 has none. */
async function memory(): Promise<{ totalBytes: number; availableBytes: number }> {
  const text = process.platform === "linux" ? ((await readText("/proc/meminfo")) ?? "") : "";
  const bytesOf = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+) kB$`, "m").exec(text)?.[1]) * 1024;
  const [totalBytes, availableBytes] = [bytesOf("MemTotal"), bytesOf("MemAvailable")];
  if (totalBytes > 0 && availableBytes >= 0) return { totalBytes, availableBytes };
  const { total, available } = await (await systeminformation()).mem();
  return { totalBytes: total, availableBytes: available };
}

/** Files of sysfs say that they are 4096 bytes long, whatever they hold: read until the end, not up to the size. */
async function readText(path: string): Promise<string | null> {
  try {
    const file = await open(path, "r");
    try {
      const buffer = Buffer.allocUnsafe(MAX_TEXT_BYTES);
      let length = 0;
      while (length < MAX_TEXT_BYTES) {
        const { bytesRead } = await file.read(buffer, length, MAX_TEXT_BYTES - length);
        if (bytesRead === 0) break;
        length += bytesRead;
      }
      return buffer.toString("utf8", 0, length);
    } finally {
      await file.close();
    }
  } catch {
    return null;
  }
}
