/**
 * The signed tree over the auditor's log. The segments are its source: an entry is in them, durably, before it is in the
 * tree, and what the tree lacks after a crash is added from them. So the same log always gives the same tree.
 */
import path from "node:path";
import { MeshError, type LogEntry } from "../bus-schemas/index.ts";
import { TLOG_FOLDER, openLogKey } from "./log-key.ts";
import { entriesAfter } from "./segment-reader.ts";
import type { SegmentLog } from "./segment-log.ts";
import { TlogWriter } from "./tlog/writer.ts";
import { treeEntry } from "./tree-entry.ts";

/** Entries in one step while the tree catches up with the segments. */
const CATCH_UP = 8192;

export class AuditTree {
  readonly #writer: TlogWriter;
  #waiting: LogEntry[] = [];

  private constructor(writer: TlogWriter) {
    this.#writer = writer;
  }

  /**
   * Opens the tree of an auditor's folder and adds what its segments have beyond it.
   * @throws MeshError `conflict` or `bad_config` when tree, key and segments do not fit each other; the file system's errors.
   */
  static async open(folder: string, segments: SegmentLog, mesh: string): Promise<AuditTree> {
    const signer = await openLogKey(folder, mesh);
    const writer = await TlogWriter.open(path.join(folder, TLOG_FOLDER), signer);
    const last = await lastSequence(writer);
    if (last > segments.sequence)
      throw new MeshError(
        "conflict",
        `the signed tree has entry ${last}, but the segments in ${folder} end with ${segments.sequence}; restore them`,
      );
    for await (const entries of entriesAfter(folder, last, CATCH_UP)) await writer.append(entries.map(treeEntry));
    return new AuditTree(writer);
  }

  /** Entries that the newest checkpoint covers. */
  get size(): number {
    return this.#writer.size;
  }

  /** Entries that wait for the next checkpoint. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Takes entries that the segments have. */
  add(entries: readonly LogEntry[]): void {
    this.#waiting.push(...entries);
  }

  /** Makes all entries that wait durable in the tree, under a new checkpoint. When it throws, they go on waiting. */
  async cover(): Promise<void> {
    const entries = this.#waiting;
    await this.#writer.append(entries.map(treeEntry));
    this.#waiting = this.#waiting.slice(entries.length);
  }
}

/** Position of the tree's last entry in the log; 0 for an empty tree. */
async function lastSequence(writer: TlogWriter): Promise<number> {
  const last = await writer.lastEntry();
  if (last === undefined) return 0;
  const { sequence } = JSON.parse(Buffer.from(last).toString()) as Partial<LogEntry>;
  if (sequence === undefined) throw new MeshError("conflict", "the last entry of the signed tree has no position");
  return sequence;
}
