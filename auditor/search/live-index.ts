import { existsSync, readFileSync, rmSync, statSync } from "node:fs";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import { NO_KEYS, type StorageKeys } from "../at-rest/storage-keys.ts";
import { TLOG_FOLDER, VERIFIER_KEY_FILE } from "../log-key.ts";
import { openCheckpoint } from "../tlog/checkpoint.ts";
import { parseVerifierKey } from "../tlog/keys.ts";
import { readCheckpoint } from "../tlog/verify.ts";
import { CHECKPOINT_FILE } from "../tlog/writer.ts";
import { catchUp, isOf, type ReadableLog } from "./build.ts";
import { INDEX_FILE, SearchIndex } from "./search-index.ts";
import type { EntryFiles } from "./tile-entries.ts";

/** The search index of a running auditor: follows the log's checkpoints, and heals itself by beginning anew. */
export class LiveIndex {
  readonly #folder: string;
  readonly #file: string;
  readonly #keys: StorageKeys;
  #index: SearchIndex | undefined;
  #inode: number | undefined;

  constructor(folder: string, keys = NO_KEYS) {
    this.#folder = folder;
    this.#keys = keys;
    this.#file = path.join(folder, INDEX_FILE);
  }

  /** Where the entries lie that it is made from. */
  get log(): EntryFiles & { keys: StorageKeys } {
    return { tlog: path.join(this.#folder, TLOG_FOLDER), keys: this.#keys };
  }

  /** Undefined until the log has its first checkpoint. */
  get index(): SearchIndex | undefined {
    return this.#index;
  }

  /** Adds what the newest checkpoint covers, a part at a time: others may ask in between. @throws the errors of files and database */
  async follow(signal: AbortSignal): Promise<void> {
    const log = this.#readLog();
    if (log === undefined) return;
    const index = this.#open(log);
    while (!signal.aborted && index.log.last < log.checkpoint.size) {
      catchUp(index, log);
      await setImmediate();
    }
  }

  /** What is wrong with the file itself is cured by making it anew from the tiles. */
  beginAnew(): void {
    this.close();
    for (const part of [this.#file, `${this.#file}-journal`]) rmSync(part, { force: true });
  }

  close(): void {
    this.#index?.close();
    this.#index = undefined;
  }

  /** Undefined while there is no log yet. */
  #readLog(): ReadableLog | undefined {
    const { tlog } = this.log;
    const needed = [path.join(tlog, CHECKPOINT_FILE), path.join(this.#folder, VERIFIER_KEY_FILE)];
    if (!needed.every((file) => existsSync(file))) return undefined;
    const key = parseVerifierKey(readFileSync(path.join(this.#folder, VERIFIER_KEY_FILE), "utf8"));
    return { ...this.log, checkpoint: openCheckpoint(readCheckpoint(tlog), key) };
  }

  #open(log: ReadableLog): SearchIndex {
    // `audit reindex` has put another file in its place.
    if (this.#index !== undefined && inodeOf(this.#file) !== this.#inode) this.close();
    if (this.#index === undefined) {
      this.#index = new SearchIndex(this.#file, { keys: this.#keys });
      this.#inode = inodeOf(this.#file);
    }
    if (!isOf(this.#index, log)) {
      this.beginAnew();
      return this.#open(log);
    }
    return this.#index;
  }
}

function inodeOf(file: string): number | undefined {
  return statSync(file, { throwIfNoEntry: false })?.ino;
}
