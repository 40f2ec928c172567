/** Compares what processes say they have counted with what the log has of them. */
import { EVENTS, type EventData, type EventType } from "../../bus-schemas/index.ts";
import { TileReader } from "../tlog/reader.ts";
import { DECIDING, NO_GAP, type Gap } from "./gap.ts";
import type { SearchIndex } from "./search-index.ts";
import { EntryReader, type EntryFiles } from "./tile-entries.ts";

type Report = EventData<"counts_reported">;

/** One life of a process, as far as the log tells of it. */
interface Life {
  /** The first report that was read: what was counted before it may lie on either side of it in the log. */
  first: Report;
  /** Behind this position lies all that its jobs can follow from. */
  before: number;
  /** Position of its newest report that was read. */
  last: number;
  /** Its events in the log between the first and the last report, by type. */
  inLog: Map<string, number>;
}

/** A report, where it stands, and the life that it is of. */
interface Placed {
  sequence: number;
  source: string;
  report: Report;
  life: Life;
}

/** Reports are read from so many entries before the end on when the auditor starts; what lies before was compared then. */
const READ_BACK = 200_000;
/** What a life that is taken up in its middle follows from lies within so many entries before. */
const SLACK = 20_000;
/** Lives of one source that are remembered: gateways of one host have one name. */
const MOST_LIVES = 8;

/**
 * 1. Events: what the stream has acknowledged to a process before it reported must be in the log in front of that report, since all
 *    goes through one connection in order; what it has not made yet must not be.
 * 2. Jobs: each run, dispatch, request to a provider and finished answer follows something that is on record. That may come late
 *    through a spool, so these are compared when the report has been in the log for a while.
 */
export class CountChecks {
  readonly #index: SearchIndex;
  readonly #log: EntryFiles;
  /** By source and boot. */
  readonly #lives = new Map<string, Map<string, Life>>();
  /** Reports whose jobs are still to be compared, oldest first. */
  #young: Placed[] = [];
  #read: number;
  #readGaps = 0;
  /** Gaps that the log, or a former look, has. */
  readonly #known = new Set<string>();

  constructor(index: SearchIndex, log: EntryFiles) {
    this.#index = index;
    this.#log = log;
    this.#read = Math.max(0, index.log.last - READ_BACK);
  }

  /** @param settled position up to which the log is old enough for its jobs to be compared */
  find(settled: number): Gap[] {
    const { last } = this.#index.log;
    for (const { entry } of this.#entries("audit_gap", this.#readGaps)) {
      const { data } = EVENTS.audit_gap.data.safeParse(entry.data);
      if (data !== undefined) this.#known.add(keyOf(data));
    }
    const gaps: Gap[] = [];
    for (const { entry, sequence } of this.#entries("counts_reported", this.#read)) {
      const { data } = EVENTS.counts_reported.data.safeParse(entry.data);
      // Of another version, perhaps: what it says nobody here can tell, and the others still count.
      if (data !== undefined) gaps.push(...this.#take(entry.source, sequence, data));
    }
    this.#read = this.#readGaps = last;
    const due = this.#young.filter(({ sequence }) => sequence <= settled);
    this.#young = this.#young.filter(({ sequence }) => sequence > settled);
    gaps.push(...due.flatMap((report) => this.#jobs(report)));
    return gaps.filter((gap) => {
      const isNew = !this.#known.has(keyOf(gap));
      this.#known.add(keyOf(gap));
      return isNew;
    });
  }

  /** The entries of a type behind a position, from the tiles; pruned ones are left out. */
  *#entries(type: EventType, after: number) {
    const reader = new EntryReader(new TileReader(this.#log.tlog, this.#index.log.last, this.#log.keys));
    const rows = this.#index.db
      .prepare(`SELECT sequence FROM entry WHERE type = ? AND sequence > ? ORDER BY sequence`)
      .all(this.#index.words.find(type) ?? 0, after);
    for (const row of rows) {
      const sequence = Number(row["sequence"]);
      const entry = reader.at(sequence);
      if (entry !== undefined && "type" in entry) yield { entry, sequence };
    }
  }

  #take(source: string, sequence: number, report: Report): Gap[] {
    const lives = this.#lives.get(source) ?? new Map<string, Life>();
    this.#lives.set(source, lives);
    let life = lives.get(report.boot_id);
    const isFirst = life === undefined;
    if (life === undefined) {
      const former = Math.max(0, ...Array.from(lives.values(), ({ last }) => last));
      const before = report.report === 0 ? former : Math.max(0, sequence - SLACK);
      life = { first: report, before, last: sequence, inLog: new Map() };
      lives.set(report.boot_id, life);
      const [oldest = ""] = lives.keys();
      if (lives.size > MOST_LIVES) lives.delete(oldest);
    }
    const placed = { sequence, source, report, life };
    this.#young.push(placed);
    if (isFirst) return [];
    this.#count(life, source, sequence);
    life.last = sequence;
    return this.#events(placed);
  }

  /** Adds to what the log has of a life the entries between its last report and this one. */
  #count(life: Life, source: string, sequence: number): void {
    const rows = this.#index.db
      .prepare(
        `SELECT type, count(*) AS n FROM entry
         WHERE source = ? AND sequence > ? AND sequence < ? AND type IS NOT NULL GROUP BY type`,
      )
      .all(this.#index.words.find(source) ?? 0, life.last, sequence);
    for (const row of rows) {
      const type = this.#index.words.textOf(row["type"]);
      life.inLog.set(type, (life.inLog.get(type) ?? 0) + Number(row["n"]));
    }
  }

  #events({ report, source, sequence, life: { first, inLog } }: Placed): Gap[] {
    const about = { ...NO_GAP, severity: "critical" as const, source, boot_id: report.boot_id };
    return Object.entries(report.events).flatMap(([type, { stored, made }]): Gap[] => {
      const at = first.events[type] ?? { made: 0, stored: 0 };
      const found = inLog.get(type) ?? 0;
      const [least, most] = [stored - at.made, made - at.stored + report.left_over];
      const counted = { ...about, counted: type, found };
      if (found < least) {
        const detail = `by entry ${sequence} the stream has acknowledged ${least} events of this type to ${source}; the log has ${found} of them`;
        return [{ ...counted, kind: "events_missing", said: least, detail }];
      }
      if (found <= most) return [];
      const detail = `by entry ${sequence} ${source} has made ${most} events of this type at most; the log has ${found} in its name`;
      return [{ ...counted, kind: "events_surplus", said: most, detail }];
    });
  }

  /** What was counted of jobs, against the entries that account for it. */
  #jobs({ report, source, life: { first, before } }: Placed): Gap[] {
    const [kind = "", name = ""] = source.split("/");
    const decided = DECIDING.map((type) => this.#index.words.find(type) ?? 0).join(", ");
    const id = (text: string) => this.#index.words.find(text) ?? 0;
    const count = (sql: string, ...values: number[]) =>
      Number(
        this.#index.db
          .prepare(`SELECT count(*) AS n FROM entry WHERE sequence > ? AND ${sql}`)
          .get(before, ...values)?.["n"] ?? 0,
      );
    const toNode = () => count(`type IN (${decided}) AND node = ?`, id(name));
    const accounts: Record<string, Record<string, { entries: () => number; what: string }>> = {
      agent: {
        started: { entries: toNode, what: "decisions that name the node" },
        provider_requests: { entries: toNode, what: "decisions that name the node" },
      },
      router: {
        dispatched: {
          entries: () => count(`type IN (${decided}) AND node IS NOT NULL AND source = ?`, id(source)),
          what: "decisions of this router for a node",
        },
      },
      gateway: {
        finished: {
          entries: () => count("type = ? AND outcome = ?", id("job_ended"), id("finished")),
          what: "jobs that finished, of all callers",
        },
      },
    };
    return Object.entries(accounts[kind] ?? {}).flatMap(([counted, { entries, what }]): Gap[] => {
      // A first report may be one from the middle of a life.
      const said = (report.counts[counted] ?? 0) - (first.report === 0 ? 0 : (first.counts[counted] ?? 0));
      const found = said <= 0 ? 0 : entries();
      if (said <= found) return [];
      const about = { ...NO_GAP, source, boot_id: report.boot_id, node_id: kind === "agent" ? name : null };
      const detail = `${source} counts ${said} ${counted}; the log has ${found} ${what}`;
      return [{ ...about, kind: "counts_disagree", severity: "critical", counted, said, found, detail }];
    });
  }
}

/** The same disagreement is told once; when it grows, again. */
function keyOf({ kind, source, boot_id, counted, said, found }: Gap): string {
  return JSON.stringify([kind, source, boot_id, counted, (said ?? 0) - (found ?? 0)]);
}
