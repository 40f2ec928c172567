import type { z } from "zod";
import type { Hardware } from "../../bus-schemas/node-record.ts";
import type { GpuFault } from "./gpu-fault.ts";
import type { KernelRecord } from "./kernel-log.ts";
import type { Nvml } from "./nvidia/nvml.ts";

/** The parts of the picture that have a sampling time of their own: the keys of `hardware.sampled_at`. */
export type HardwarePart = keyof Hardware["sampled_at"];

/** The values that probes fill in. null = unknown, never 0; `gpus: []` = looked and found none. */
export type HardwareValues = Omit<Hardware, "sampled_at" | "platform" | "arch">;

/** What one run of a probe found. */
export interface Reading {
  values: Partial<HardwareValues>;
  /** Where the values come from, for people (`tiermesh doctor`). */
  how: string;
  /** Something is wrong although there are values: one GPU of four was lost. */
  problem?: string;
  /** Errors that a driver told since the last run. */
  faults?: GpuFault[];
}

/** One fact-finder, one file. It may keep state between runs (last CPU times, the fields an old driver lacks). */
export interface Probe {
  name: string;
  fills: HardwarePart;
  /** Pause between the end of one run and the start of the next, milliseconds. */
  everyMs: number;
  /** Pause instead while the machine is calm (see runner.ts), milliseconds: for what costs a process each time. */
  idleEveryMs?: number;
  /** After this time `signal` aborts; after twice this time the run is given up. Milliseconds. */
  timeoutMs: number;
  /** Nothing there = null or []; broken = throw. @throws ProbeError with a message for people. */
  probe(host: ProbeHost, signal: AbortSignal): Promise<Reading>;
}

/** A probe could not find out. The message is for people and goes into heartbeats' problems: no paths of users, no content. */
export class ProbeError extends Error {
  override readonly name = "ProbeError";
}

/** Accumulated CPU time of one core, milliseconds, as `os.cpus()` gives it. */
export interface CoreTimes {
  model: string;
  times: { user: number; nice: number; sys: number; idle: number; irq: number };
}

export interface CommandOutput {
  /** Exit code; null when a signal from outside ended it. */
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Everything that a probe may touch, so that recorded machines can be replayed in tests. */
export interface ProbeHost {
  platform: NodeJS.Platform;
  arch: string;
  env: Readonly<Record<string, string | undefined>>;
  /** Folder whose disk matters. */
  stateDir: string;
  nowMs(): number;
  pause(ms: number, signal: AbortSignal): Promise<void>;
  /**
   * Runs a program, without a shell, at most once at a time. @throws CommandError when it cannot be started, is killed for taking
   * longer than `timeoutMs` or writing too much, or when an earlier run of the same program has not ended yet.
   */
  run(
    program: string,
    args: readonly string[],
    options: { timeoutMs: number },
    signal: AbortSignal,
  ): Promise<CommandOutput>;
  /**
   * Runs a program that goes on by itself, at most once at a time as `run`, and hands over each of its lines. It is killed when
   * `signal` aborts. @returns how it ended. @throws CommandError as `run`
   */
  follow(
    program: string,
    args: readonly string[],
    onLine: (line: string) => void,
    signal: AbortSignal,
  ): Promise<CommandOutput>;
  /** NVIDIA's library, once it is initialised. @throws StepError */
  nvml(): Promise<Nvml>;
  cores(): CoreTimes[];
  /** `availableBytes`: what programs can still get, the page cache included. */
  memory(): Promise<{ totalBytes: number; availableBytes: number }>;
  /** Degrees Celsius as systeminformation gives them. */
  cpuTemperature(): Promise<{ main: number | null; max: number | null }>;
  /** Bytes that an ordinary user can still write where `path` is. @throws ENOENT as node:fs does. */
  diskFreeBytes(path: string): Promise<number>;
  /** A small text file such as those of sysfs, at most its first 64 KiB. null: not there, or not for this user. */
  readText(path: string): Promise<string | null>;
  /** The names in a folder. []: not there, or not for this user. */
  list(path: string): Promise<string[]>;
  /** What the kernel wrote into its log since the last call, at first all that it still has; null: not for this user. */
  kernelLog(): Promise<KernelRecord[] | null>;
}

const BYTES_PER_GB = 2 ** 30;

/** `value` if the wire schema allows it, else null: a reading out of bounds is a broken sensor, not a fact. */
export function validOrNull<T>(schema: z.ZodType<T>, value: unknown): T | null {
  const parsed = schema.safeParse(value);
  return parsed.success ? parsed.data : null;
}

/** Bytes as gigabytes (2^30) with three decimals, about a megabyte. */
export function gbFromBytes(bytes: number): number {
  return roundTo(bytes / BYTES_PER_GB, 3);
}

export function roundTo(value: number, decimals: number): number {
  const factor = 10 ** decimals;
  return Math.round(value * factor) / factor;
}
