import { MeshError, type LogEntry } from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import type { Log } from "../service/log.ts";
import { startLoop, type Loop } from "../service/loop.ts";
import type { Metrics } from "../service/metrics.ts";
import { AuditTree } from "./audit-tree.ts";
import type { LogIndex } from "./log-index.ts";
import { SessionEnded, recordSession } from "./recorder.ts";
import { SegmentLog, type SegmentLogOptions } from "./segment-log.ts";

/** Pause before a broken session is started again, milliseconds. */
const RETRY_MS = 500;
/** After the disk was full, events are taken again when it has so much room, bytes. */
const ROOM_BYTES = 1024 * 1024;

/** Keeps a session running, whatever happens to bus and disk, and knows how it goes. */
export class Auditor {
  readonly #bus: Bus;
  readonly #folder: string;
  readonly #options: SegmentLogOptions;
  readonly #log: Log;
  readonly #stored;
  readonly #seconds;
  #segments: SegmentLog | undefined;
  #tree: AuditTree | undefined;
  #index: LogIndex | undefined;
  #problem: string | undefined = "starting";
  #diskFailed = false;
  #pending = 0;
  #rejected = 0;
  #session = new AbortController();
  readonly #first = Promise.withResolvers<void>();

  constructor(bus: Bus, folder: string, metrics: Metrics, log: Log, options: SegmentLogOptions = {}) {
    this.#bus = bus;
    this.#folder = folder;
    this.#log = log;
    this.#options = {
      onRepair: (what) => log.warn(what, "cut a damaged end of the audit log; its events come again"),
      ...options,
    };
    this.#stored = metrics.counter("audit_entries_total", "Entries made durable in the audit log", ["kind"]);
    this.#seconds = metrics.seconds("audit_store", "Time to make a batch of events durable");
  }

  /** Of the newest segments; the last known one while the disk cannot be read. */
  get index(): LogIndex | undefined {
    return this.#index;
  }

  /** Resolves when the first session is up. */
  get ready(): Promise<void> {
    return this.#first.promise;
  }

  get health() {
    return {
      ok: this.#problem === undefined && this.#bus.connected(),
      problem: this.#problem ?? null,
      sequence: this.#segments?.sequence ?? this.#index?.last ?? 0,
      /** Entries that the newest signed checkpoint covers. */
      tree_size: this.#tree?.size ?? null,
      stream_sequence: this.#segments?.streamSequence ?? null,
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
    this.#segments ??= await SegmentLog.open(this.#folder, this.#options);
    this.#index = this.#segments.index;
    if (this.#diskFailed) await this.#segments.probe(ROOM_BYTES);
    this.#diskFailed = false;
    this.#tree ??= await AuditTree.open(this.#folder, this.#segments, this.#bus.subjects.prefix);
    this.#session = new AbortController();
    const hooks = {
      onReady: (pending: number) => {
        this.#pending = pending;
        this.#problem = undefined;
        this.#first.resolve();
      },
      onStored: (entries: readonly LogEntry[], seconds: number, pending: number) =>
        this.#count(entries, seconds, pending),
    };
    const record = { log: this.#segments, tree: this.#tree };
    await recordSession(this.#bus, record, hooks, AbortSignal.any([signal, this.#session.signal]));
  }

  #count(entries: readonly LogEntry[], seconds: number, pending: number): void {
    const rejected = entries.filter((entry) => "rejected" in entry).length;
    this.#stored.inc({ kind: "event" }, entries.length - rejected);
    this.#stored.inc({ kind: "rejected" }, rejected);
    this.#seconds.observe(seconds);
    this.#rejected += rejected;
    this.#pending = pending;
  }

  #failed(error: unknown): void {
    if (error instanceof SessionEnded)
      return this.#log.info({ why: error.message }, "taking up the audit stream again");
    const disk = isDiskError(error);
    const what = error instanceof Error ? error.message.slice(0, 300) : "unknown";
    if (disk)
      this.#problem = `the disk does not take the audit log (${error.code}); events wait in the stream until it does`;
    else if (this.#tree === undefined && error instanceof MeshError)
      this.#problem = `the signed log cannot be gone on with: ${what}; events wait in the stream until it can`;
    else this.#problem = `the audit stream cannot be read: ${what}`;
    this.#log.error({ err: error }, this.#problem);
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
