import { existsSync, rmSync } from "node:fs";
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import type { AuditFilter, AuditQuery } from "../../bus-schemas/index.ts";
import { NO_KEYS, type StorageKeys } from "../at-rest/storage-keys.ts";
import type { IndexRow } from "./index-row.ts";
import { indexTexts, type IndexTexts } from "./index-texts.ts";
import { INDEXES, INDEX_VERSION, INSERT, INSERT_PARTY, TABLES, Words, valuesOf } from "./tables.ts";

/** Below the auditor's folder. */
export const INDEX_FILE = "search.db";
/** Rows in one transaction. */
export const INDEX_BATCH = 8192;
/** How long another process's write is waited for, milliseconds. */
const BUSY_MS = 5000;

/** What of the log the index is of: it is thrown away when the log is another one. */
export interface IndexedLog {
  /** The log's origin, as its checkpoints name it. */
  origin: string;
  /** Position of the last entry that is in; 0 for none. */
  last: number;
  /** Hash of that entry's leaf in the tree, base64; empty for none. */
  leaf: string;
}

/**
 * What entries can be searched by, in SQLite. It is made from the signed tiles and from nothing else, holds no more than
 * they do, and can be thrown away at any time: `audit reindex` makes it anew. Nothing is ever proven by it.
 * Of an encrypted log it has no text in clear; times, deadlines, energy and cost are numbers to be compared, and are.
 */
export class SearchIndex {
  readonly db: DatabaseSync;
  readonly words: Words;
  readonly #texts: IndexTexts;
  readonly #insert: StatementSync;
  readonly #insertParty: StatementSync;
  readonly #setMeta: StatementSync;
  #log: IndexedLog;

  /**
   * A file that is of another version or another storage key is thrown away.
   * @param bulk the whole log will be read, into a file that counts only when `finish` was called: nothing is synced before
   * @throws the database's errors: `ERR_SQLITE_ERROR`
   */
  constructor(file: string, { bulk = false, keys = NO_KEYS }: { bulk?: boolean; keys?: StorageKeys } = {}) {
    this.#texts = indexTexts(keys);
    if (existsSync(file) && !isIndexOf(file, keys))
      for (const part of [file, `${file}-journal`]) rmSync(part, { force: true });
    this.db = new DatabaseSync(file, { timeout: BUSY_MS });
    this.db.exec(
      bulk
        ? "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF"
        : "PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = NORMAL",
    );
    if (versionOf(this.db) !== INDEX_VERSION) {
      this.db.exec(`BEGIN; ${TABLES} ${bulk ? "" : INDEXES}`);
      this.db.prepare("INSERT INTO meta VALUES ('key', ?)").run(this.#texts.key);
      this.db.exec(`PRAGMA user_version = ${INDEX_VERSION}; COMMIT`);
    }
    this.words = new Words(this.db, this.#texts);
    this.#insert = this.db.prepare(INSERT);
    this.#insertParty = this.db.prepare(INSERT_PARTY);
    this.#setMeta = this.db.prepare("INSERT OR REPLACE INTO meta VALUES ('log', ?)");
    const known = this.db.prepare("SELECT value FROM meta WHERE key = 'log'").get();
    this.#log =
      known === undefined ? { origin: "", last: 0, leaf: "" } : (JSON.parse(String(known["value"])) as IndexedLog);
  }

  get log(): IndexedLog {
    return this.#log;
  }

  /** Adds the entries behind the last one, and says how far it is now: all or nothing. */
  add(rows: readonly IndexRow[], log: IndexedLog): void {
    this.db.exec("BEGIN IMMEDIATE");
    try {
      for (const row of rows) {
        this.#insert.run(...valuesOf(row, this.words.idOf, this.#texts.token));
        for (const party of row.parties) this.#insertParty.run(this.#texts.token(party), row.sequence);
      }
      this.#setMeta.run(JSON.stringify(log));
      this.db.exec("COMMIT");
      this.#log = log;
    } catch (error) {
      if (this.db.isTransaction) this.db.exec("ROLLBACK");
      this.words.reload(this.db);
      throw error;
    }
  }

  /** What somebody keeps in this index, and loses with it. */
  note(key: string): unknown {
    const found = this.db.prepare("SELECT value FROM meta WHERE key = ?").get(`note ${key}`);
    return found === undefined ? undefined : JSON.parse(String(found["value"]));
  }

  setNote(key: string, value: unknown): void {
    this.db.prepare("INSERT OR REPLACE INTO meta VALUES (?, ?)").run(`note ${key}`, JSON.stringify(value));
  }

  /** Of a bulk file: all is in, from now on it can be searched. */
  finish(): void {
    this.db.exec(INDEXES);
    this.db.exec("PRAGMA synchronous = FULL; PRAGMA journal_mode = TRUNCATE; ANALYZE");
  }

  /**
   * Positions of the entries that a question is for, oldest first, at most `limit`: the first ones behind `after_sequence`, or
   * without that the newest. Messages that were no events are never among them.
   */
  select(query: AuditQuery): number[] {
    const { sql, values } = this.where(query);
    const { after_sequence: after, limit } = query;
    const order = after === undefined ? "DESC" : "ASC";
    const behind = after === undefined ? "" : ` AND sequence > ${after}`;
    const rows = this.db
      .prepare(`SELECT sequence FROM entry WHERE ${sql}${behind} ORDER BY sequence ${order} LIMIT ${limit}`)
      .all(...values);
    const found = rows.map((row) => Number(row["sequence"]));
    return after === undefined ? found.reverse() : found;
  }

  /** Conditions as SQL on the table `entry`. */
  where(about: AuditFilter): { sql: string; values: SQLInputValue[] } {
    const parts = ["type IS NOT NULL"];
    const values: SQLInputValue[] = [];
    const add = (sql: string, ...given: SQLInputValue[]) => {
      parts.push(sql);
      values.push(...given);
    };
    // A text that no entry has is number 0, which none has either.
    const id = (text: string) => this.words.find(text) ?? 0;
    if (about.job_id !== undefined) add("job = ?", this.#texts.token(about.job_id));
    if (about.type !== undefined) add("type = ?", id(about.type));
    if (about.node_id !== undefined) add("(node = ? OR from_node = ?)", id(about.node_id), id(about.node_id));
    if (about.security_level !== undefined) add("class = ?", id(about.security_level));
    if (about.outcome !== undefined) add("outcome = ?", id(about.outcome));
    if (about.caller !== undefined)
      add("sequence IN (SELECT sequence FROM party WHERE id = ?)", this.#texts.token(about.caller));
    if (about.since_unix_ms !== undefined) add("time_ms >= ?", about.since_unix_ms);
    if (about.until_unix_ms !== undefined) add("time_ms < ?", about.until_unix_ms);
    return { sql: parts.join(" AND "), values };
  }

  close(): void {
    if (this.db.isOpen) this.db.close();
  }
}

function versionOf(db: DatabaseSync): number {
  return Number(db.prepare("PRAGMA user_version").get()?.["user_version"] ?? 0);
}

/** Whether a file can be gone on with: an index of this version and of the newest key, whose pages SQLite can read. */
export function isIndexOf(file: string, keys: StorageKeys): boolean {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(file, { timeout: BUSY_MS });
    const version = versionOf(db);
    const key = db.prepare("SELECT value FROM meta WHERE key = 'key'").get()?.["value"];
    return version === INDEX_VERSION && key === (keys.current?.id ?? "");
  } catch {
    return false;
  } finally {
    db?.close();
  }
}
