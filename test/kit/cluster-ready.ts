import { setTimeout as pause } from "node:timers/promises";

/** The part of nats-server's `/jsz` answer that we read. */
interface Jsz {
  meta_cluster?: { leader?: string; cluster_size?: number; replicas?: { current?: boolean; offline?: boolean }[] };
}

const LOOK_EVERY_MS = 50;

/**
 * Waits until the JetStream cluster behind these monitoring URLs has a leader that sees `size` current servers.
 * nats-server has no event for this, so its monitoring endpoint is asked again and again.
 */
export async function clusterReady(monitorUrls: readonly string[], size: number, timeoutMs = 30_000): Promise<void> {
  const deadline = AbortSignal.timeout(timeoutMs);
  for (;;) {
    const answers = await Promise.all(monitorUrls.map((url) => jsz(url, deadline)));
    if (answers.some((answer) => leads(answer, size))) return;
    if (deadline.aborted) throw new Error(`the test cluster has no quorum of ${size} after ${timeoutMs} ms`);
    await pause(LOOK_EVERY_MS);
  }
}

async function jsz(url: string, signal: AbortSignal): Promise<Jsz> {
  try {
    const response = await fetch(new URL("/jsz", url), { signal });
    return (await response.json()) as Jsz;
  } catch {
    return {}; // not up yet, or gone: the next look tells
  }
}

/** Only the leader lists the others. */
function leads({ meta_cluster: meta }: Jsz, size: number): boolean {
  const others = meta?.replicas?.filter((peer) => peer.current === true && peer.offline !== true) ?? [];
  return meta?.cluster_size === size && others.length === size - 1;
}
