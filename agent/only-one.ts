import { join } from "node:path";
import { MeshError } from "../bus-schemas/index.ts";
import { waitForLock, type FileLock, type LockHolder } from "../service/file-lock.ts";
import type { Log } from "../service/log.ts";

/** An agent that is just stopping drains for 7 s (main.ts); its successor waits for it, milliseconds. */
const WAIT_MS = 12_000;

/**
 * Makes sure that this is the only agent of its node: of two, each would run every job that is sent there, and both might tell it.
 * @throws MeshError `conflict` when another one is there and stays
 */
export async function onlyOne(
  { nodeDir, nodeId, log }: { nodeDir: string; nodeId: string; log: Log },
  signal: AbortSignal,
  waitMs = WAIT_MS,
): Promise<FileLock> {
  let holder: LockHolder | undefined;
  const late = AbortSignal.timeout(waitMs);
  const onWait = (held: LockHolder) => {
    holder = held;
    log.warn(`process ${held.pid} is the agent of ${nodeId} already; waiting for it to end`);
  };
  try {
    return await waitForLock(join(nodeDir, "agent.lock"), onWait, AbortSignal.any([signal, late]));
  } catch (cause) {
    if (!late.aborted || holder === undefined) throw cause;
    const message = `process ${holder.pid} is the agent of ${nodeId} already; stop it, or set TIERMESH_NODE_ID`;
    throw new MeshError("conflict", message, { cause });
  }
}
