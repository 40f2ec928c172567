/**
 * The signed tree over the auditor's log. The segments are its source: an entry is in them, durably, before it is in the
 * tree, and what the tree lacks after a crash is added from them. So the same log always gives the same tree.
 * A head is signed only after `agree` has let it pass, or because the auditors have agreed on it already (ADR 0027).
 */
import path from "node:path";
import { MeshError, type LogEntry } from "../bus-schemas/index.ts";
import { TLOG_FOLDER, openLogKey, openSecondKey, type LogKeyOptions } from "./log-key.ts";
import { entriesAfter } from "./segment-reader.ts";
import type { SegmentLog } from "./segment-log.ts";
import type { TreeHead } from "./tlog/checkpoint.ts";
import { DISK } from "./tlog/files.ts";
import { TileReader } from "./tlog/reader.ts";
import { consistencyProof, rootOf, same, type Subtrees } from "./tlog/tree.ts";
import { TlogWriter } from "./tlog/writer.ts";
import { treeEntry } from "./tree-entry.ts";

/** Entries in one step while the tree catches up with the segments. */
const CATCH_UP = 8192;
/** Entries that are kept in memory for the tree, at most. */
const MOST_WAITING = 32_768;
/** Entries under one new checkpoint, at most. */
const MOST_AT_ONCE = 65_536;

/** Lets a head of the tree pass before it is signed. @throws when it must not be signed */
export type Agree = (head: TreeHead) => Promise<void>;

export class AuditTree {
  /** Name of the log's key. */
  readonly origin: string;
  readonly #folder: string;
  readonly #segments: SegmentLog;
  readonly #writer: TlogWriter;
  /** The newest entries of the segments, as far as the tree lacks them. */
  #waiting: LogEntry[] = [];

  private constructor(folder: string, segments: SegmentLog, writer: TlogWriter, origin: string) {
    this.#folder = folder;
    this.#segments = segments;
    this.#writer = writer;
    this.origin = origin;
  }

  /**
   * Opens the tree of an auditor's folder; nothing is added to it yet.
   * @throws MeshError `conflict` or `bad_config` when tree, key and segments do not fit each other; MissingStorageKey; the file system's errors.
   */
  static async open(
    folder: string,
    segments: SegmentLog,
    mesh: string,
    keyOptions: LogKeyOptions = {},
  ): Promise<AuditTree> {
    const signer = await openLogKey(folder, mesh, keyOptions);
    const also = keyOptions.mldsa === true ? [await openSecondKey(folder, signer.name, keyOptions)] : [];
    const writer = await TlogWriter.open(path.join(folder, TLOG_FOLDER), signer, DISK, segments.keys, also);
    const last = await lastSequence(writer);
    if (last !== writer.size)
      throw new MeshError("conflict", `the last of ${writer.size} entries of the signed tree says that it is ${last}`);
    if (last > segments.sequence)
      throw new MeshError(
        "conflict",
        `the signed tree has entry ${last}, but the segments in ${folder} end with ${segments.sequence}; restore them`,
      );
    return new AuditTree(folder, segments, writer, signer.name);
  }

  /** Entries that the newest checkpoint covers. */
  get size(): number {
    return this.#writer.size;
  }

  /** The tree that the newest checkpoint covers. */
  get head(): TreeHead {
    return this.#writer.covered;
  }

  /** Entries of the log that the newest checkpoint does not cover. */
  get waiting(): number {
    return this.#segments.sequence - this.#writer.size;
  }

  /** The newest checkpoint, as it is in its file. */
  checkpoint(): Promise<Buffer> {
    return this.#writer.checkpoint();
  }

  /** Writes cosignatures of a checkpoint down (TlogWriter). */
  cosign(text: string, lines: readonly string[]): Promise<void> {
    return this.#writer.cosign(text, lines);
  }

  /** Proof that the first `oldSize` entries are the beginning of the first `size`. */
  consistency(oldSize: number, size: number): Uint8Array[] {
    return oldSize === 0 || oldSize === size ? [] : consistencyProof(oldSize, size, this.#subtrees);
  }

  /** Takes entries that the segments have. */
  add(entries: readonly LogEntry[]): void {
    // One that is far behind reads them from the segments later; they would fill its memory.
    if (this.#waiting.length > MOST_WAITING) this.#waiting = [];
    this.#waiting.push(...entries);
  }

  /** The tree as it was at a size that it has had, by its tiles. */
  #headAt(size: number): TreeHead {
    return { size, root: rootOf(size, this.#subtrees) };
  }

  get #subtrees(): Subtrees {
    return new TileReader(path.join(this.#folder, TLOG_FOLDER), this.#writer.size).subtrees;
  }

  /** Makes all entries that wait durable in the tree, under a new checkpoint. When it throws, they go on waiting. */
  async cover(agree: Agree): Promise<void> {
    const end = this.#segments.sequence;
    // In steps, for what is far behind: between two of them the other auditor hears that this one is there.
    for (let to = this.size; to < end;) {
      to = Math.min(end, to + MOST_AT_ONCE);
      await this.#grow(to);
      await agree(this.#writer.head);
      await this.#writer.sign();
    }
  }

  /**
   * Brings the tree to a head that was agreed on.
   * @returns false while the segments do not reach so far
   * @throws MeshError `conflict` when the entries here lead to another root
   */
  async follow(agreed: TreeHead): Promise<boolean> {
    if (agreed.size > this.#segments.sequence) return false;
    if (agreed.size <= this.size) {
      this.#mustBe(agreed, agreed.size === this.size ? this.head : this.#headAt(agreed.size));
      return true;
    }
    if (agreed.size < this.#writer.head.size) this.#writer.reset();
    await this.#grow(agreed.size);
    try {
      this.#mustBe(agreed, this.#writer.head);
    } catch (error) {
      this.#writer.reset();
      throw error;
    }
    await this.#writer.sign();
    return true;
  }

  #mustBe(agreed: TreeHead, here: TreeHead): void {
    if (same(agreed.root, here.root)) return;
    throw new MeshError(
      "conflict",
      `the first ${agreed.size} entries in ${this.#folder} are not those that the auditors agreed on; replace the folder by a copy of the other auditor's, but for its log-key`,
    );
  }

  /** Has the tiles hold the log up to entry `to`. */
  async #grow(to: number): Promise<void> {
    for (let grown = this.#writer.head.size; grown < to; grown = this.#writer.head.size) {
      const first = this.#waiting[0]?.sequence ?? Infinity;
      if (first <= grown) this.#waiting = this.#waiting.filter(({ sequence }) => sequence > grown);
      else if (first > grown + 1) await this.#growFromSegments(grown, Math.min(to, first - 1));
      else {
        const entries = this.#waiting.slice(0, Math.min(CATCH_UP, to - grown));
        await this.#writer.grow(entries.map(treeEntry));
        this.#waiting = this.#waiting.slice(entries.length);
      }
    }
  }

  async #growFromSegments(after: number, to: number): Promise<void> {
    const { keys } = this.#segments;
    let next = after + 1;
    for await (const entries of entriesAfter(this.#folder, { after, upTo: to, keys }, CATCH_UP)) {
      for (const { sequence } of entries)
        if (sequence !== next++) throw new MeshError("conflict", `entry ${next - 1} is in none of the segments`);
      await this.#writer.grow(entries.map(treeEntry));
    }
    if (next <= to) throw new MeshError("conflict", `the segments in ${this.#folder} end before entry ${next}`);
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
