/** Numbers over the entries of a log, from its search index. */
import { ENDING_TYPES, type AuditFilter, type AuditStats } from "../../bus-schemas/index.ts";
import type { SearchIndex } from "./search-index.ts";

/** Nodes that are listed, those where most jobs ended first. */
const MOST_NODES = 50;

/** What the entries that fit `about` come to. Times are what their senders said. */
export function statsOf(index: SearchIndex, about: AuditFilter): AuditStats {
  const { sql, values } = index.where(about);
  const grouped = (column: string, condition = "1", sum = "count(*)") =>
    index.db
      .prepare(
        `SELECT ${column} AS id, ${sum} AS n FROM entry
         WHERE ${sql} AND ${condition} AND ${column} IS NOT NULL GROUP BY ${column}`,
      )
      .all(...values)
      .map((row) => [index.words.textOf(row["id"]), Number(row["n"])] as const)
      .toSorted(([a, most], [b, least]) => least - most || (a < b ? -1 : 1));
  const ends = `type IN (${ENDING_TYPES.map((type) => index.words.find(type) ?? 0).join(", ")})`;
  const whole = index.db
    .prepare(
      `SELECT count(*) AS entries, min(time_ms) AS first, max(time_ms) AS last, sum(energy_wh) AS energy,
         count(DISTINCT job) AS jobs FROM entry WHERE ${sql}`,
    )
    .get(...values);
  return {
    entries: Number(whole?.["entries"] ?? 0),
    jobs: Number(whole?.["jobs"] ?? 0),
    first_time: isoTime(whole?.["first"]),
    last_time: isoTime(whole?.["last"]),
    by_type: Object.fromEntries(grouped("type")),
    by_class: Object.fromEntries(grouped("class")),
    endings: Object.fromEntries(grouped("outcome", ends)),
    nodes: grouped("node", ends)
      .slice(0, MOST_NODES)
      .map(([node_id, jobs]) => ({ node_id, jobs })),
    energy_wh: whole?.["energy"] === null ? null : Number(whole?.["energy"] ?? 0),
    cost: Object.fromEntries(grouped("currency", "cost IS NOT NULL", "sum(cost)")),
    indexed: index.log.last,
  };
}

function isoTime(ms: unknown): string | null {
  return ms === null || ms === undefined ? null : new Date(Number(ms)).toISOString();
}
