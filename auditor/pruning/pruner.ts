/**
 * Removes what is past its retention (ADR 0028): whole bundles from the log's beginning, when every entry in them may go, and
 * the segments with them. First the log itself says so, in an entry; each auditor removes its own copy when it has that entry
 * under a checkpoint, and finds by itself that the time is over.
 */
import { stat } from "node:fs/promises";
import path from "node:path";
import type { EventData, LogEntry } from "../../bus-schemas/index.ts";
import type { StorageKeys } from "../at-rest/storage-keys.ts";
import { BadTile, TileReader } from "../tlog/reader.ts";
import { pruneTiles, readMinimumIndex } from "../tlog/minimum-index.ts";
import { TILE_WIDTH, levelCount, tilePath } from "../tlog/tiles.ts";
import { isExpired, timeOf, type Retention } from "./retention.ts";

export interface PrunerOptions {
  /** Of the signed log. */
  folder: string;
  /** Of a log that is encrypted. */
  keys?: StorageKeys;
  /** Entries that the newest checkpoint covers; undefined while the log cannot be written. */
  size: () => number | undefined;
  /** By the policy in force. @throws when it cannot be read: then nothing is removed */
  retention: () => Promise<Retention>;
  /** Whether it is this auditor's turn to write. */
  isWriter: () => boolean;
  /** Says by an event that the entries before an index may go. */
  announce: (what: Omit<EventData<"audit_pruned">, "auditor">) => void;
  /** Removes segments whose entries all lie before a position. */
  pruneSegments: (beforeSequence: number) => Promise<void>;
  /** Epoch milliseconds; undefined while the clock is not believed (TrustedClock): then nothing is removed. */
  now: () => Promise<number | undefined>;
}

export class Pruner {
  readonly #options: PrunerOptions;
  /** The newest announcement in the log: up to where, and in which entry. */
  #announced = { minimum: 0, sequence: 0 };

  constructor(options: PrunerOptions) {
    this.#options = options;
  }

  /** Looks for announcements among entries that are in the log now. */
  onStored(entries: readonly LogEntry[]): void {
    for (const entry of entries) {
      // The broker vouches for the source.
      if (!("type" in entry) || entry.type !== "audit_pruned" || !entry.source.startsWith("auditor/")) continue;
      const { minimum_index: minimum } = entry.data as EventData<"audit_pruned">;
      if (minimum > this.#announced.minimum) this.#announced = { minimum, sequence: entry.sequence };
    }
  }

  /**
   * Announces what may go, or removes what was announced.
   * @returns the log's minimum index
   * @throws MeshError and the file system's errors; nothing is half removed that is still needed
   */
  async tick(): Promise<number> {
    const { announce, folder, isWriter, now, pruneSegments, retention, size } = this.#options;
    const covered = size();
    const minimum = readMinimumIndex(folder);
    if (covered === undefined) return minimum;
    const days = await retention();
    const nowMs = await now();
    if (nowMs === undefined) return minimum;
    const due = await this.#dueUpTo(minimum, covered, days, nowMs);
    if (due <= minimum) return minimum;
    const announced = this.#announced.sequence <= covered ? this.#announced.minimum : minimum;
    const target = Math.min(announced, due);
    if (target > minimum) {
      await pruneTiles(folder, target);
      await pruneSegments(target + 1);
      return target;
    }
    if (isWriter() && this.#announced.minimum < due) announce({ minimum_index: due, retention_days: days });
    return minimum;
  }

  /** Index behind the last bundle whose entries may all go. The newest full bundle stays: the log's end is read from it. */
  async #dueUpTo(minimum: number, size: number, retention: Retention, nowMs: number): Promise<number> {
    const { folder, keys } = this.#options;
    const reader = new TileReader(folder, size, keys);
    let due = minimum;
    let atMs = 0;
    for (let index = minimum / TILE_WIDTH; index < levelCount(1, size) - 1; index++) {
      const writtenMs = await this.#writtenMs(index, size, nowMs);
      const entries = reader.bundle(index).map((bytes) => JSON.parse(bytes.toString()) as LogEntry);
      const isOver = (entry: LogEntry) => {
        atMs = timeOf(entry, writtenMs, atMs);
        return isExpired(entry, retention, atMs, nowMs);
      };
      if (!entries.every(isOver)) break;
      due = (index + 1) * TILE_WIDTH;
    }
    return due;
  }

  /** When a full bundle was written: by its file, or if that says a time to come, before the next one that does not. */
  async #writtenMs(first: number, size: number, nowMs: number): Promise<number> {
    for (let index = first; index < levelCount(1, size); index++) {
      const file = path.join(this.#options.folder, tilePath({ level: "entries", index, width: TILE_WIDTH }));
      const { mtimeMs } = await stat(file).catch(() => {
        throw new BadTile(file, "missing");
      });
      if (mtimeMs <= nowMs) return mtimeMs;
    }
    return nowMs;
  }
}
