import { MeshError, type SleepEntry } from "../../bus-schemas/index.ts";
import type { Log } from "../../service/log.ts";
import { startLoop, type Loop } from "../../service/loop.ts";
import type { SleepBucket } from "../../service/sleep-bucket.ts";
import type { FleetView } from "../fleet-view.ts";

/** How often the bucket is looked at, milliseconds. */
const LOOK_EVERY_MS = 1000;
/** Changes of one entry that meet others' are tried so often. */
const MAX_TRIES = 5;

type Bucket = Pick<SleepBucket, "entries" | "find" | "refresh" | "reread" | "put">;

export interface SleepersParts {
  /** Opens the bucket; called again after it failed. */
  open: () => Promise<Bucket>;
  fleet: Pick<FleetView, "nowMs" | "recall">;
  log: Log;
}

/**
 * The machines that sleep, the same for all routers of the cell and for one that starts: each change is a compare-and-set on
 * the bus, so of several routers that want the same, one does it.
 */
export class Sleepers {
  readonly #parts: SleepersParts;
  #bucket: Bucket | undefined;
  #reachable = true;

  constructor(parts: SleepersParts) {
    this.#parts = parts;
  }

  /** As of the last look. */
  get entries(): SleepEntry[] {
    return this.#bucket?.entries ?? [];
  }

  find(nodeId: string): SleepEntry | undefined {
    return this.#bucket?.find(nodeId);
  }

  /** Follows the bucket until `signal` aborts. */
  follow(signal: AbortSignal): Loop {
    const onError = (error: unknown) => {
      if (this.#reachable) this.#parts.log.warn({ err: error }, "the machines that sleep cannot be looked up");
      this.#reachable = false;
    };
    const body = async () => {
      await this.look();
      this.#reachable = true;
    };
    return startLoop({ name: "sleepers", everyMs: LOOK_EVERY_MS, onError }, body, signal);
  }

  /** Looks at the bucket once. @throws what the bus says */
  async look(): Promise<void> {
    const bucket = (this.#bucket ??= await this.#parts.open());
    await bucket.refresh();
    for (const { asleep, since_unix_ms: sinceMs } of bucket.entries)
      if (asleep !== null) this.#parts.fleet.recall(asleep, sinceMs);
  }

  /**
   * Changes an entry, on top of the newest.
   * @param how of the entry as it is, or a blank one; undefined = nothing is to be done. It may be asked more than once
   * @returns the entry as it was before and is now; undefined when nothing was to be done
   * @throws MeshError `bus_unavailable`, or what the bus says
   */
  async change(
    nodeId: string,
    how: (entry: SleepEntry) => SleepEntry | undefined,
  ): Promise<{ before: SleepEntry; after: SleepEntry } | undefined> {
    const bucket = this.#bucket;
    if (bucket === undefined) throw new MeshError("bus_unavailable", "the machines that sleep are not known yet");
    let before = bucket.find(nodeId) ?? this.#blank(nodeId);
    for (let i = 0; i < MAX_TRIES; i++) {
      const after = how(before);
      if (after === undefined) return undefined;
      if (await bucket.put(after)) return { before, after };
      before = (await bucket.reread(nodeId)) ?? this.#blank(nodeId);
    }
    throw new MeshError("conflict", `${nodeId}: too many others write down its sleep at once`);
  }

  #blank(nodeId: string): SleepEntry {
    return {
      node_id: nodeId,
      asleep: null,
      since_unix_ms: Math.round(this.#parts.fleet.nowMs()),
      ready_in_seconds: null,
      wake: null,
      last: null,
      failures: 0,
      not_before_unix_ms: null,
    };
  }
}
