import { runCommand } from "../run-command.ts";

/** The nats-server we build and test with; what `go install` fetches. */
export const PINNED_VERSION = "2.15.2";

/** The oldest nats-server we run: Debian 12's, below which JetStream features that we use are missing. */
export const VERSION_FLOOR = "2.9.10";

/** `x.y.z` out of any text such as `nats-server: v2.15.2`, or undefined. */
export function findVersion(text: string): string | undefined {
  return /(?<![\d.])v?(\d+\.\d+\.\d+)/.exec(text)?.[1];
}

/** Negative when `a` is older than `b`, 0 when equal, positive when newer; both `x.y.z`. */
export function compareVersions(a: string, b: string): number {
  const left = a.split(".").map(Number);
  const right = b.split(".").map(Number);
  for (let i = 0; i < 3; i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** What `<binary> --version` says, or undefined when it cannot be run or does not call itself nats-server. */
export async function readServerVersion(binary: string, signal?: AbortSignal): Promise<string | undefined> {
  const result = await runCommand(binary, ["--version"], { timeoutMs: 10_000 }, signal);
  if (result.code !== 0 || !/^nats-server\b/.test(result.stdout.trim())) return undefined;
  return findVersion(result.stdout);
}
