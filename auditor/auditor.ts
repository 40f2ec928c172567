import { join } from "node:path";
import { MeshError, type AuditorName, type LogEntry } from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import type { EventPublisher } from "../service/events.ts";
import type { Log } from "../service/log.ts";
import { startLoop, type Loop } from "../service/loop.ts";
import type { Metrics } from "../service/metrics.ts";
import { Resealer, prepareFolder } from "./at-rest/reseal.ts";
import { NO_KEYS } from "./at-rest/storage-keys.ts";
import { AuditTree } from "./audit-tree.ts";
import { folderHolder } from "./holder.ts";
import { TLOG_FOLDER } from "./log-key.ts";
import type { LogIndex } from "./log-index.ts";
import { SessionEnded, recordSession, type TurnState } from "./recorder.ts";
import { SegmentLog, type SegmentLogOptions } from "./segment-log.ts";
import { Scrubber } from "./tlog/scrub.ts";
import { TurnLost } from "./turn.ts";

/** Pause before a broken session is started again, milliseconds. */
const RETRY_MS = 500;
/** So long after its start an auditor need not tell yet that it cannot begin, milliseconds. */
const START_MS = 10_000;
/** After the disk was full, events are taken again when it has so much room, bytes. */
const ROOM_BYTES = 1024 * 1024;
/** What is written to try the disk, bytes. */
const PROBE_BYTES = 4096;

export interface AuditorOptions extends SegmentLogOptions {
  /** Folder of segments and signed log. */
  folder: string;
  name: AuditorName;
  /** Where the log's private key is, if not in the folder. */
  keyFile?: string | undefined;
  /** Whether checkpoints are signed by ML-DSA-44, too. */
  mldsa?: boolean;
  /** Told of entries that are in the log now. */
  onStored?: (entries: readonly LogEntry[]) => void;
  /** Told when a canary has come through (RecordPathWatch). */
  onCanary?: () => void;
  /** Called when it has become this auditor's turn to write, and when it no longer is. */
  onTurn?: (isWriter: boolean) => void;
}

/** What of the auditor's surroundings it tells of itself by. */
export interface AuditorReports {
  metrics: Metrics;
  log: Log;
  events: EventPublisher;
}

/** Keeps a session running, whatever happens to bus and disk, and knows how it goes. */
export class Auditor {
  readonly #bus: Bus;
  readonly #options: AuditorOptions;
  readonly #log: Log;
  readonly #events: EventPublisher;
  readonly #stored;
  readonly #seconds;
  #segments: SegmentLog | undefined;
  #tree: AuditTree | undefined;
  #index: LogIndex | undefined;
  #problem: string | undefined = "starting";
  /** What was told of by an event and is not over. */
  #told: { kind: "disk" | "log" | "stream"; problem: string } | undefined;
  #isWriter: boolean | undefined;
  #writer: AuditorName | undefined;
  #otherLog: string | undefined;
  readonly #scrubber: Scrubber;
  #resealer: Resealer | undefined;
  readonly #startedAtMs = performance.now();
  #diskFailed = false;
  #pending = 0;
  #rejected = 0;
  #session = new AbortController();
  readonly #first = Promise.withResolvers<void>();

  constructor(bus: Bus, { events, log, metrics }: AuditorReports, options: AuditorOptions) {
    this.#bus = bus;
    this.#log = log;
    this.#events = events;
    this.#scrubber = new Scrubber(join(options.folder, TLOG_FOLDER), options.keys);
    this.#options = {
      onRepair: (what) => log.warn(what, "cut a damaged end of the audit log; its events come again"),
      ...options,
    };
    this.#stored = metrics.counter("audit_entries_total", "Entries made durable in the audit log", ["kind"]);
    this.#seconds = metrics.seconds("audit_store", "Time to make a batch of events durable");
    const writes = metrics.gauge("audit_is_writer", "1 while it is this auditor's turn to sign the log");
    Object.assign(writes, { collect: () => writes.set(this.#isWriter === true ? 1 : 0) });
  }

  /** Of the newest segments; the last known one while the disk cannot be read. */
  get index(): LogIndex | undefined {
    return this.#index;
  }

  /** The signed log, while it is this auditor's turn to write it. */
  get signedLog(): AuditTree | undefined {
    return this.#isWriter === true ? this.#tree : undefined;
  }

  /** Entries that the newest checkpoint covers; undefined while the log cannot be written. */
  get treeSize(): number | undefined {
    return this.#tree?.size;
  }

  /**
   * Looks at a part of the signed log on the disk (Scrubber), and tells of what was damaged since, or is whole again. The log
   * goes on: what the next checkpoint is made from is in memory.
   */
  scrub(): void {
    const tree = this.#tree;
    if (tree === undefined || tree.size === 0) return;
    const before = this.#scrubber.damaged.length;
    const [found] = this.#scrubber.look(tree.head);
    const { name: auditor } = this.#options;
    if (found !== undefined) {
      const problem = `${found.file}: ${found.what}`.slice(0, 300);
      this.#log.error({ problem }, "the signed log was damaged on the disk; restore the file from a copy");
      this.#record("audit_problem", { auditor, kind: "log", problem });
    } else if (before > 0 && this.#scrubber.damaged.length === 0)
      this.#record("audit_problem", { auditor, kind: "log", problem: null });
  }

  /** Tries whether the log's disk takes something. @throws the file system's errors */
  async probe(): Promise<void> {
    await this.#segments?.probe(PROBE_BYTES);
  }

  /** Encrypts the next files anew that lie there by an older storage key, or by none. @throws the file system's errors */
  async reseal(): Promise<void> {
    for (const { error, file } of (await this.#resealer?.step()) ?? [])
      this.#log.warn({ err: error, file }, "a file of the log cannot be encrypted anew; it stays as it is");
  }

  /** Removes segments whose entries all lie before a position. @throws the file system's errors */
  async pruneSegments(beforeSequence: number): Promise<void> {
    await this.#segments?.prune(beforeSequence);
  }

  /** Resolves when the first session is up. */
  get ready(): Promise<void> {
    return this.#first.promise;
  }

  get health() {
    const other =
      this.#otherLog === undefined
        ? undefined
        : `the auditors' log is ${this.#otherLog}, and not the one here: put that one's folder or key here, or stop the other auditor`;
    const problem = this.#problem ?? other ?? null;
    return {
      ok: problem === null && this.#bus.connected(),
      problem,
      auditor: this.#options.name,
      role: this.#isWriter === undefined ? null : this.#isWriter ? "writer" : "standby",
      writer: this.#writer ?? null,
      sequence: this.#segments?.sequence ?? this.#index?.last ?? 0,
      /** Entries that the newest signed checkpoint covers. */
      tree_size: this.#tree?.size ?? null,
      stream_sequence: this.#segments?.streamSequence ?? null,
      /** By which storage key files are written, and whether all are. */
      encryption: this.#resealer?.state ?? null,
      /** Files of the signed log that were found damaged. */
      damaged: this.#scrubber.damaged.map(({ file }) => file),
      pending: this.#pending,
      rejected: this.#rejected,
    };
  }

  start(): Loop {
    // After a lost connection the consumer may have sent what never arrived: a new session asks for it again at once.
    void (async () => {
      for await (const status of this.#bus.nc.status()) if (status.type === "reconnect") this.#session.abort();
    })();
    return startLoop({ name: "auditor", everyMs: RETRY_MS, onError: (error) => this.#failed(error) }, (signal) =>
      this.#run(signal),
    );
  }

  async close(): Promise<void> {
    await this.#segments?.close();
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { folder, keyFile, keys = NO_KEYS, mldsa = false, name } = this.#options;
    this.#segments ??= await SegmentLog.open(folder, this.#options);
    this.#index = this.#segments.index;
    if (this.#diskFailed) await this.#segments.probe(ROOM_BYTES);
    this.#diskFailed = false;
    const key = { file: keyFile, make: name === "auditor", mldsa };
    if (this.#tree === undefined) {
      this.#tree = await AuditTree.open(folder, this.#segments, this.#bus.subjects.prefix, key);
      await prepareFolder(folder, keys);
      this.#resealer = new Resealer(folder, keys);
    }
    this.#session = new AbortController();
    const hooks = {
      onReady: (pending: number) => {
        this.#pending = pending;
        this.#isWell();
        this.#first.resolve();
      },
      onStored: (entries: readonly LogEntry[], seconds: number, pending: number) =>
        this.#count(entries, seconds, pending),
      onTurn: (turn: TurnState) => this.#onTurn(turn),
      onCanary: () => this.#options.onCanary?.(),
    };
    const me = { auditor: name, holder: await folderHolder(folder) };
    const record = { log: this.#segments, tree: this.#tree, me };
    await recordSession(this.#bus, record, hooks, AbortSignal.any([signal, this.#session.signal]));
  }

  #count(entries: readonly LogEntry[], seconds: number, pending: number): void {
    this.#options.onStored?.(entries);
    const rejected = entries.filter((entry) => "rejected" in entry).length;
    this.#stored.inc({ kind: "event" }, entries.length - rejected);
    this.#stored.inc({ kind: "rejected" }, rejected);
    this.#seconds.observe(seconds);
    this.#rejected += rejected;
    this.#pending = pending;
  }

  #onTurn({ isWriter, otherLog, tookFrom, writer }: TurnState): void {
    this.#writer = writer;
    this.#otherLog = otherLog;
    if (tookFrom !== undefined) {
      const { auditor: previous, origin: previousOrigin } = tookFrom;
      this.#log.warn({ previous, previousOrigin }, "took the turn to write the audit log");
      this.#record("audit_writer_changed", {
        auditor: this.#options.name,
        previous,
        tree_size: this.#tree?.size ?? 0,
        origin: this.#tree?.origin ?? "",
        previous_origin: previousOrigin,
      });
    }
    if (this.#isWriter === isWriter) return;
    this.#isWriter = isWriter;
    this.#log.info({ role: isWriter ? "writer" : "standby", writer }, "whose turn it is to write the audit log");
    this.#options.onTurn?.(isWriter);
  }

  #isWell(): void {
    this.#problem = undefined;
    if (this.#told === undefined) return;
    this.#record("audit_problem", { auditor: this.#options.name, kind: this.#told.kind, problem: null });
    this.#told = undefined;
  }

  /** An event goes to the stream, which is on another disk or at least in another file; it waits like all others. */
  #record(...[type, data]: Parameters<EventPublisher["record"]>): void {
    try {
      this.#events.record(type, data);
    } catch (error) {
      this.#log.warn({ err: error, type }, "an event of the auditor's own was not taken");
    }
  }

  #failed(error: unknown): void {
    if (error instanceof SessionEnded || error instanceof TurnLost)
      return this.#log.info({ why: error.message }, "taking up the audit stream again");
    const disk = isDiskError(error);
    const what = error instanceof Error ? error.message.slice(0, 300) : "unknown";
    const before = this.#problem;
    const conflict = error instanceof MeshError && (this.#tree === undefined || error.code === "conflict");
    const kind = disk ? "disk" : conflict ? "log" : "stream";
    if (disk)
      this.#problem = `the disk does not take the audit log (${error.code}); events wait in the stream until it does`;
    else if (conflict)
      this.#problem = `the signed log cannot be gone on with: ${what}; events wait in the stream until it can`;
    else this.#problem = `the audit stream cannot be read: ${what}`;
    if (this.#problem !== before) this.#log.error({ err: error }, this.#problem);
    // A second auditor that is started with the first one waits a moment for that one's key.
    const starting = this.#isWriter === undefined && performance.now() - this.#startedAtMs < START_MS;
    if (kind !== "stream" && this.#told?.kind !== kind && !starting) {
      this.#told = { kind, problem: disk ? (error.code ?? "disk") : what };
      this.#record("audit_problem", { auditor: this.#options.name, ...this.#told });
    }
    if (!disk) return;
    this.#diskFailed = true;
    void this.#segments?.close().catch(() => undefined);
    this.#segments = undefined;
    this.#tree = undefined;
  }
}

/** An error of a file operation: `ENOSPC`, `EFBIG`, `EIO`, `EROFS`, … */
function isDiskError(error: unknown): error is NodeJS.ErrnoException {
  const { syscall } = (error ?? {}) as NodeJS.ErrnoException;
  return (
    syscall !== undefined &&
    ["write", "fsync", "fdatasync", "open", "ftruncate", "mkdir", "read", "scandir", "unlink", "rename", "rm"].includes(
      syscall,
    )
  );
}
