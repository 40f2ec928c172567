import type { SleepEntry } from "../../bus-schemas/index.ts";
import type { SeenNode } from "../../client/index.ts";
import type { Bus } from "../../service/bus.ts";
import { openSleepBucket } from "../../service/sleep-bucket.ts";

/** The machines that sleep and can be woken, by name, as routers wrote them down: they say nothing themselves. @throws what the bus says */
export async function sleepersOf(bus: Bus): Promise<Map<string, SleepEntry>> {
  const bucket = await openSleepBucket(bus);
  await bucket.refresh();
  const asleep = bucket.entries.filter((entry) => entry.asleep !== null);
  return new Map(asleep.map((entry) => [entry.node_id, entry]));
}

/** The nodes that were heard, and those that sleep since before anybody listened. @param nowMs wall clock */
export function withSleepers(
  seen: readonly SeenNode[],
  sleepers: ReadonlyMap<string, SleepEntry>,
  nowMs: number,
): SeenNode[] {
  const heard = new Set(seen.map(({ record }) => record.node_id));
  const others = [...sleepers.values()].flatMap(({ node_id: nodeId, asleep, since_unix_ms: sinceMs }): SeenNode[] => {
    if (asleep === null || heard.has(nodeId)) return [];
    return [{ record: asleep, state: "asleep", seenAgoMs: Math.max(0, nowMs - sinceMs) }];
  });
  return [...seen, ...others].sort((a, b) => a.record.node_id.localeCompare(b.record.node_id));
}

/** In operators' words: `asleep, ready in ~12 s`. @param nowMs wall clock */
export function describeSleep(entry: SleepEntry, nowMs: number): string {
  const { asleep, not_before_unix_ms: from, ready_in_seconds: learned, wake } = entry;
  if (wake !== null) {
    const passed = Math.max(0, Math.round((nowMs - wake.asked_unix_ms) / 1000));
    return `asleep, being woken by ${wake.neighbour} for ${passed} s${learned === null ? "" : ` of ~${Math.round(learned)}`}`;
  }
  const ready = learned === null ? "never woken yet" : `ready in ~${Math.round(learned)} s`;
  if (asleep !== null && asleep.sleep !== null && asleep.sleep.closed_because !== null)
    return `asleep, ${ready}; not for jobs: ${asleep.sleep.closed_because}`;
  if (from !== null && from > nowMs)
    return `asleep; did not come up, so not woken for jobs before ${new Date(from).toISOString()}`;
  return `asleep, ${ready}`;
}
