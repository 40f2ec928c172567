/**
 * Takes the stream AUDIT into the log on disk.
 * 1. The log is the truth: the durable consumer is set to what the log has, never the other way round.
 * 2. An event is acknowledged only after its line was fsynced and a checkpoint of the signed tree covers it; one fsync,
 *    and one checkpoint, serve all events that waited for it. Who signs a new one, turn.ts has.
 * 3. Events enter in the stream's order. A hole in the consumer's delivery numbers (messages lost with a connection)
 *    ends the session, and the next one starts behind the log's last entry. So nothing is missed, nothing enters twice.
 * 4. A canary (record-path.ts) is passed over in its place.
 * 5. An event that the stream has twice, because its sender did not learn that it was stored (ADR 0008), enters once.
 */
import { jetstream, type JsMsg } from "@nats-io/jetstream";
import { CANARY, parseEventSubject, type AuditorName, type LogEntry, type LogHead } from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import { HeadRegister } from "../service/head-register.ts";
import { ensureAuditStream } from "../service/streams.ts";
import type { AuditTree } from "./audit-tree.ts";
import { MAX_UNACKED, alignConsumer, alignStream } from "./consumer.ts";
import { Cover } from "./cover.ts";
import { toEntry } from "./entry.ts";
import type { SegmentLog } from "./segment-log.ts";
import { eventKey } from "./segment.ts";
import { Turn, type AuditorIdentity } from "./turn.ts";

/** Most events in one write and fsync. */
const BATCH = 1024;
/** How often the turn is looked after, milliseconds. */
const TEND_MS = 500;

/** Where the entries go, and for whom. */
export interface Record {
  log: SegmentLog;
  tree: AuditTree;
  me: AuditorIdentity;
}

/** Whose turn it is to write. */
export interface TurnState {
  isWriter: boolean;
  writer: AuditorName | undefined;
  /** The head of another auditor, or of another log, that this auditor took the turn from just now. */
  tookFrom: LogHead | undefined;
  /** The log that the others have agreed on, when it is not the one here. */
  otherLog: string | undefined;
}

export interface RecorderHooks {
  /** Entries that are durable now. */
  onStored(entries: readonly LogEntry[], seconds: number, pending: number): void;
  /** The session is up: everything behind the log's end will come. */
  onReady(pending: number): void;
  onTurn(turn: TurnState): void;
  /** A canary came, and all before it is in the log, signed. */
  onCanary(): void;
}

/** A session that must be started anew; its message says why. */
export class SessionEnded extends Error {}

/** Runs one session until `signal` aborts (then it returns, with all that it took stored) or something breaks (throws). */
export async function recordSession(
  bus: Bus,
  { log, me, tree }: Record,
  hooks: RecorderHooks,
  signal: AbortSignal,
): Promise<void> {
  const manager = await ensureAuditStream(bus);
  const stream = bus.subjects.auditStream;
  await alignStream(manager, stream, log);
  const consumer = await alignConsumer(manager, stream, me.auditor, log);
  let expectedDelivery = consumer.delivered.consumer_seq + 1;
  const register = await HeadRegister.make(bus);
  const turn = new Turn(register, tree, me);
  // A standby that is far behind must not wait for a checkpoint that needs more entries than the stream gives at a time.
  const acknowledge = () => cover.acknowledge(Math.max(tree.size, turn.agreedSize));
  const tend = async () => {
    tendIsDue = false;
    const tookFrom = await turn.tend();
    const { isWriter, otherLog, writer } = turn;
    hooks.onTurn({ isWriter, otherLog, tookFrom, writer });
    acknowledge();
  };

  const waiting: JsMsg[] = [];
  let ended: Error | undefined;
  let wake = () => {};
  const end = (why: Error) => {
    ended ??= why;
    wake();
  };
  const stop = () => wake();
  const cover = new Cover(log, tree, stop, () => hooks.onCanary());
  let tendIsDue = false;
  const lookAfterTurn = () => {
    tendIsDue = true;
    wake();
  };
  await tend();
  hooks.onReady(consumer.num_pending);

  const messages = await (
    await jetstream(bus.nc).consumers.get(stream, me.auditor)
  ).consume({
    max_messages: MAX_UNACKED / 2,
    expires: 30_000,
    idle_heartbeat: 5000,
    callback: (msg) => {
      if (ended !== undefined) return;
      if (msg.info.deliverySequence !== expectedDelivery) return end(new SessionEnded("events were lost on the way"));
      expectedDelivery++;
      waiting.push(msg);
      wake();
    },
  });
  void (async () => {
    for await (const status of messages.status()) {
      if (
        status.type === "consumer_deleted" ||
        status.type === "consumer_not_found" ||
        status.type === "stream_not_found"
      ) {
        end(new SessionEnded(status.type));
      }
    }
  })().catch(end);

  signal.addEventListener("abort", stop, { once: true });
  const timer = setInterval(lookAfterTurn, TEND_MS);
  const unwatch = register.watch(() => {
    if (!turn.isWriter) lookAfterTurn();
  });

  // The tree grows while the next events are stored: both wait for the disk most of the time.
  let covering: Promise<void> | undefined;
  const startCover = () => {
    covering = cover
      .now(turn.agree)
      .catch(end)
      .finally(() => {
        covering = undefined;
        wake();
      });
  };
  try {
    while (ended === undefined && !(signal.aborted && waiting.length === 0)) {
      if (tendIsDue && covering === undefined) await tend();
      else if (turn.isWriter && cover.due && covering === undefined) startCover();
      else if (waiting.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      else {
        cover.add(await store(waiting.splice(0, BATCH), { log, tree }, hooks));
        if (!turn.isWriter) acknowledge();
      }
      if (signal.aborted) await messages.close();
    }
    await covering;
    if (ended === undefined && turn.isWriter) {
      await cover.now(turn.agree);
      await turn.release();
    }
  } finally {
    await covering;
    clearInterval(timer);
    unwatch();
    cover.stop();
    signal.removeEventListener("abort", stop);
    await messages.close();
  }
  if (ended !== undefined) throw ended;
}

/** @returns the newest of the messages, which are all in the log now, and whether a canary was among them */
async function store(
  batch: readonly JsMsg[],
  { log, tree }: Pick<Record, "log" | "tree">,
  hooks: RecorderHooks,
): Promise<{ newest: JsMsg | undefined; canary: boolean }> {
  const startMs = performance.now();
  const entries: LogEntry[] = [];
  const keys = new Set<string>();
  let canary = false;
  for (const msg of batch) {
    if (msg.seq <= log.streamSequence) continue;
    if (isCanary(msg.subject)) {
      canary = true;
      continue;
    }
    const header = (name: string) => msg.headers?.get(name) ?? "";
    const stored = { subject: msg.subject, streamSequence: msg.seq, data: msg.data, header };
    const entry = toEntry(stored, log.sequence + 1 + entries.length);
    if ("id" in entry) {
      const key = eventKey(entry);
      if (keys.has(key) || log.index.has(key, entry.sequence)) continue;
      keys.add(key);
    }
    entries.push(entry);
  }
  if (entries.length > 0) await log.append(entries);
  tree.add(entries);
  const newest = batch.at(-1);
  hooks.onStored(entries, (performance.now() - startMs) / 1000, newest?.info.pending ?? 0);
  return { newest, canary };
}

/** The broker lets only an auditor say it, so nobody passes anything else by so. */
function isCanary(subject: string): boolean {
  const { process, type } = parseEventSubject(subject) ?? {};
  return type === CANARY && process === "auditor";
}
