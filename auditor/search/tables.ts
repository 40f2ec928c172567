/** The tables of the search index, and which of its columns can be asked for. */
import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import type { IndexTexts } from "./index-texts.ts";
import type { IndexRow } from "./index-row.ts";

/** Another number than this in a file, and it is made anew. */
export const INDEX_VERSION = 3;

/**
 * Texts that recur (types, sources, nodes, …) are numbers in the table of entries, and stand here once. Callers are no such texts:
 * there may be as many as jobs, and words are kept in memory.
 */
export const TABLES = `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
  CREATE TABLE word (id INTEGER PRIMARY KEY, text ANY NOT NULL) STRICT;
  CREATE TABLE entry (
    sequence INTEGER PRIMARY KEY, time_ms INTEGER, type INTEGER, source INTEGER, class INTEGER, job ANY,
    node INTEGER, from_node INTEGER, outcome INTEGER, layer INTEGER, deadline_ms INTEGER,
    energy_wh REAL, cost REAL, currency INTEGER
  ) STRICT;
  CREATE TABLE party (id ANY NOT NULL, sequence INTEGER NOT NULL, PRIMARY KEY (id, sequence)) STRICT, WITHOUT ROWID;
`;

/** Made behind the entries when the whole log is read: a quarter of the time that it takes to keep them up on the way. */
export const INDEXES = `
  CREATE INDEX IF NOT EXISTS entry_job ON entry (job) WHERE job IS NOT NULL;
  CREATE INDEX IF NOT EXISTS entry_node ON entry (node) WHERE node IS NOT NULL;
  CREATE INDEX IF NOT EXISTS entry_from ON entry (from_node) WHERE from_node IS NOT NULL;
  CREATE INDEX IF NOT EXISTS entry_type ON entry (type);
  CREATE INDEX IF NOT EXISTS entry_source ON entry (source);
  CREATE INDEX IF NOT EXISTS entry_outcome ON entry (outcome) WHERE outcome IS NOT NULL;
  CREATE INDEX IF NOT EXISTS entry_time ON entry (time_ms);
  CREATE INDEX IF NOT EXISTS entry_deadline ON entry (deadline_ms) WHERE deadline_ms IS NOT NULL;
`;

export const INSERT = `INSERT OR IGNORE INTO entry VALUES (${Array.from({ length: 14 }, () => "?").join(", ")})`;

export const INSERT_PARTY = "INSERT OR IGNORE INTO party VALUES (?, ?)";

/** The values of {@link INSERT}. */
export function valuesOf(
  row: IndexRow,
  word: (text: string | null) => number | null,
  jobOf: (jobId: string) => SQLInputValue,
) {
  return [
    row.sequence,
    row.timeMs,
    word(row.type),
    word(row.source),
    word(row.dataClass),
    row.jobId === null ? null : jobOf(row.jobId),
    word(row.node),
    word(row.fromNode),
    word(row.outcome),
    word(row.layer),
    row.deadlineMs,
    row.energyWh,
    row.cost,
    word(row.currency),
  ] as const;
}

/** The texts that have a number; a new one is given the next. */
export class Words {
  readonly #ids = new Map<string, number>();
  readonly #known = new Map<number, string>();
  readonly #insert;
  readonly #texts: IndexTexts;

  constructor(db: DatabaseSync, texts: IndexTexts) {
    this.#texts = texts;
    this.#insert = db.prepare("INSERT INTO word (id, text) VALUES (?, ?)");
    this.reload(db);
  }

  /** Null for null. */
  readonly idOf = (text: string | null): number | null => {
    if (text === null) return null;
    const known = this.#ids.get(text);
    if (known !== undefined) return known;
    const id = this.#ids.size + 1;
    this.#insert.run(id, this.#texts.write(text));
    this.#ids.set(text, id);
    this.#known.set(id, text);
    return id;
  };

  /** The text of a number; empty for none. */
  readonly textOf = (id: unknown): string => this.#known.get(Number(id)) ?? "";

  /** The numbers of all texts with this beginning. */
  startingWith(prefix: string): number[] {
    return Array.from(this.#ids).flatMap(([text, id]) => (text.startsWith(prefix) ? [id] : []));
  }

  /** Undefined for a text that no entry has. */
  find(text: string): number | undefined {
    return this.#ids.get(text);
  }

  /** After a transaction was rolled back: what it added is forgotten. */
  reload(db: DatabaseSync): void {
    this.#ids.clear();
    this.#known.clear();
    for (const { id, text } of db.prepare("SELECT id, text FROM word").all()) {
      const word = this.#texts.read(text);
      this.#ids.set(word, Number(id));
      this.#known.set(Number(id), word);
    }
  }
}
