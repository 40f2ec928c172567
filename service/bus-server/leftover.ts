import { readFile } from "node:fs/promises";
import { pause } from "../loop.ts";
import { commandOf, isAlive } from "../process-info.ts";

/** Time between two looks whether a process that is not our child has ended, milliseconds. */
const LOOK_EVERY_MS = 20;

/**
 * Ends the nats-server that an earlier owner of this folder left behind, if there is one: when owner and guardian were
 * killed together, or are being killed at this very moment. Known by the pid file that the server itself wrote and by
 * our configuration file in its command line, so that no other process is hit.
 * @returns its process id, or undefined when there was none.
 */
export async function endLeftover(
  pidFile: string,
  configFile: string,
  graceMs: number,
  signal?: AbortSignal,
): Promise<number | undefined> {
  const pid = Number(await readFile(pidFile, "utf8").catch(() => ""));
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined;
  const command = await commandOf(pid);
  if (command === undefined || !command.includes(configFile)) return undefined;
  await endProcess(pid, graceMs, signal);
  return pid;
}

/** Asks a process that is not our child to end, kills it after `graceMs`, and returns when it is gone. */
export async function endProcess(pid: number, graceMs: number, signal?: AbortSignal): Promise<void> {
  const startedMs = performance.now();
  let sent: NodeJS.Signals | undefined;
  while (isAlive(pid)) {
    signal?.throwIfAborted();
    const wanted = performance.now() - startedMs >= graceMs ? "SIGKILL" : "SIGTERM";
    if (sent !== wanted) {
      sent = wanted;
      try {
        process.kill(pid, wanted);
      } catch {
        return; // it ended between the look and the signal
      }
    }
    await pause(LOOK_EVERY_MS, signal);
  }
}
