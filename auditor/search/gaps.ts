/** Looks in a log, through its search index, for what must be there and is not (ADR 0029). */
import type { SQLOutputValue } from "node:sqlite";
import { ENDING_TYPES, type EventType } from "../../bus-schemas/index.ts";
import { CountChecks } from "./count-checks.ts";
import { DECIDING, GRACE_MS, NO_GAP, type Gap } from "./gap.ts";
import { TileReader } from "../tlog/reader.ts";
import type { SearchIndex } from "./search-index.ts";
import { EntryReader, type EntryFiles } from "./tile-entries.ts";

/** Events by which agents record runs. */
const RUNS = ["job_ended", "job_run_ended"] as const satisfies readonly EventType[];
/** Most gaps of one kind in one look; the next look goes on with the rest. */
const MOST = 100;
/** A decision may come late, through a spool, and a crash may lose what was found and not recorded: so far it is looked back, milliseconds. */
const LOOK_BACK_MS = 3_600_000;
/** By so many of the newest entries it is told what time it is for their senders. */
const NEWEST = 200;

/** How far a log was looked through; kept in its index. */
interface Checked {
  /** Jobs whose deadline is before this, epoch milliseconds. */
  deadlineMs: number;
  /** Runs up to this position. */
  runs: number;
}

type Row = Record<string, SQLOutputValue>;

/** Finds each gap once: what it has returned, and what the log has of such findings, it does not return again. */
export class GapFinder {
  readonly #index: SearchIndex;
  readonly #log: EntryFiles;
  readonly #counts: CountChecks;
  #checked: Checked;
  /** Jobs of gaps that were returned and may not be in the log yet. */
  readonly #told = new Set<string>();
  /** What the newest entries say that the time is, and when they were seen first. */
  #newest: { last: number; saidMs: number; steadyMs: number } | undefined;
  /** When it was asked, and how far the log was then: an entry's age by this machine's clock, whatever its sender's says. */
  #looks: { atMs: number; last: number }[] = [];

  constructor(index: SearchIndex, log: EntryFiles) {
    this.#index = index;
    this.#log = log;
    this.#counts = new CountChecks(index, log);
    this.#checked = (index.note("checked") as Checked | undefined) ?? { deadlineMs: 0, runs: 0 };
  }

  /**
   * @param wallMs epoch milliseconds; the log must have all that the stream had then
   * @param steadyMs by a clock that never jumps
   */
  find(wallMs: number, steadyMs = wallMs): Gap[] {
    const nowMs = this.#bounded(wallMs, steadyMs);
    this.#looks.push({ atMs: steadyMs, last: this.#index.log.last });
    const settled = this.#looks.findLast(({ atMs }) => atMs <= steadyMs - GRACE_MS);
    if (settled !== undefined) this.#looks = this.#looks.slice(this.#looks.indexOf(settled));
    const gaps = [
      ...this.#unended(nowMs - GRACE_MS),
      ...(settled === undefined ? [] : this.#undecided(settled.last)),
      ...this.#counts.find(settled?.last ?? 0),
    ];
    this.#index.setNote("checked", this.#checked);
    return gaps.filter(({ job_id: job }) => {
      if (job === null) return true;
      const isNew = !this.#told.has(job);
      this.#told.add(job);
      return isNew;
    });
  }

  /** A clock that leaps ahead must not call jobs under way lost: it is no later than what came last says, and the time since. */
  #bounded(wallMs: number, steadyMs: number): number {
    const { last } = this.#index.log;
    if (this.#newest?.last !== last) {
      const row = this.#index.db
        .prepare("SELECT max(time_ms) AS time FROM entry WHERE sequence > ?")
        .get(last - NEWEST);
      this.#newest = { last, saidMs: Number(row?.["time"] ?? wallMs), steadyMs };
    }
    return Math.min(wallMs, this.#newest.saidMs + (steadyMs - this.#newest.steadyMs) + GRACE_MS);
  }

  /** Jobs that were decided, whose deadline was before `untilMs`, and that have no ending. */
  #unended(untilMs: number): Gap[] {
    const rows = this.#index.db
      .prepare(
        `SELECT max(deadline_ms) AS deadline, min(sequence) AS first FROM entry d
         WHERE deadline_ms >= ? AND deadline_ms < ? AND job IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM entry e WHERE e.job = d.job AND e.type IN (${this.#ids([...ENDING_TYPES, "audit_gap"])}))
           AND NOT EXISTS (SELECT 1 FROM entry l WHERE l.job = d.job AND l.deadline_ms >= ?)
         GROUP BY job ORDER BY first LIMIT ${MOST}`,
      )
      .all(this.#checked.deadlineMs - LOOK_BACK_MS, untilMs, untilMs);
    // It may go back, with a clock that does: what was told is known.
    if (rows.length < MOST) this.#checked.deadlineMs = untilMs;
    return this.#withJobs(rows).map(({ job, row }) => ({
      ...NO_GAP,
      kind: "job_unended",
      severity: "critical",
      job_id: job,
      detail: `first named by entry ${String(row["first"])}, was to end by ${new Date(Number(row["deadline"])).toISOString()}, and has no ending`,
    }));
  }

  /**
   * Runs up to position `until` that an agent recorded of jobs that no router decided. Where the beginning of the log was
   * pruned, decisions may have gone with it: then it begins with what comes from now on.
   */
  #undecided(until: number): Gap[] {
    const { runs: after } = this.#checked;
    if (after === 0 && this.#index.db.prepare("SELECT min(sequence) AS first FROM entry").get()?.["first"] !== 1) {
      this.#checked.runs = until;
      return [];
    }
    const rows = this.#index.db
      .prepare(
        `SELECT r.source AS source, r.node AS node, r.layer AS layer, min(r.sequence) AS first FROM entry r
         WHERE r.sequence > ? AND r.sequence <= ? AND r.type IN (${this.#ids(RUNS)})
           AND r.source IN (${this.#index.words.startingWith("agent/").join(", ")}) AND r.job IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM entry d WHERE d.job = r.job AND d.type IN (${this.#ids([...DECIDING, "audit_gap"])}))
         GROUP BY r.job ORDER BY first LIMIT ${MOST}`,
      )
      .all(after, until);
    if (rows.length < MOST) this.#checked.runs = Math.max(after, until);
    const text = this.#index.words.textOf;
    return this.#withJobs(rows).map(({ job, row }) => {
      const cloud = text(row["layer"]) === "L2";
      const source = text(row["source"]);
      return {
        ...NO_GAP,
        kind: cloud ? "egress_undecided" : "run_undecided",
        severity: "critical",
        job_id: job,
        source,
        node_id: row["node"] === null ? null : text(row["node"]),
        detail: `by entry ${String(row["first"])} ${source} ran the job${cloud ? " in a cloud" : ""}; no decision on it is in the log`,
      };
    });
  }

  /** The index knows jobs by tokens where the log is encrypted; the entry has the name, unless it was pruned. */
  #withJobs(rows: readonly Row[]): { job: string; row: Row }[] {
    const reader = new EntryReader(new TileReader(this.#log.tlog, this.#index.log.last, this.#log.keys));
    return rows.flatMap((row) => {
      const job = reader.at(Number(row["first"]))?.job_id ?? undefined;
      return job === undefined ? [] : [{ job, row }];
    });
  }

  #ids(types: readonly EventType[]): string {
    return types.map((type) => this.#index.words.find(type) ?? 0).join(", ");
  }
}
