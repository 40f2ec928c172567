import {
  HEADERS,
  MeshError,
  effectiveClass,
  type JobRequestInput,
  type Outcome,
  type StreamFrame,
} from "../bus-schemas/index.ts";
import { encode } from "../service/codec.ts";
import { pause } from "../service/loop.ts";
import { headersFor } from "../service/messages.ts";
import {
  broken,
  failure,
  readFrame,
  type Again,
  type Incoming,
  type StreamOptions,
  type StreamPort,
} from "./attempt.ts";
import { FrameQueue } from "./frame-queue.ts";
import { SealedAttempt } from "./sealing/sealed-attempt.ts";

/** A router answers (accepts for a node, or refuses) within this time; otherwise the job is submitted again, milliseconds. */
const ACCEPT_LIMIT_MS = 2000;
/** An agent says something at least every second; silence beyond this means that it is lost, milliseconds. */
const SILENCE_LIMIT_MS = 3500;
/** How often a job is submitted into silence before the client gives up. */
const MAX_SILENT_SUBMITS = 4;
/** Pause before submitting again when no router listens or the bus is away, milliseconds. */
const RETRY_PAUSE_MS = 400;
/** How long no router may listen, milliseconds: one that is started again after a crash is back in about two seconds. */
const NO_ROUTER_LIMIT_MS = 5000;
/** How long a job waits for a bus that is away, milliseconds. */
const NO_BUS_LIMIT_MS = 10_000;
/** What a caller without a deadline waits at most, milliseconds; the queue's `timeout_ms` normally ends the job first. */
const DEFAULT_LIMIT_MS = 15 * 60_000;
/** Frames that wait for a slow reader; one that is further behind loses the stream, bytes. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;
/** What a frame costs beside its body, about, bytes. */
const FRAME_OVERHEAD_BYTES = 500;
/** The node enforces the deadline; the caller gives its answer this long to arrive, milliseconds. */
const DEADLINE_GRACE_MS = 500;

/** Routers that disagree whether a job must be sealed, because one has not heard of a new policy yet, are asked so often. */
const MAX_TURNS = 5;

/** How the next attempt at a job goes. */
interface Way {
  /** Its router is asked first whether it must be sealed; false = submitted as it is. */
  sealed: boolean;
  /** Tickets asked for so far. */
  tickets: number;
  /** Nodes that did not take it. */
  exclude: string[];
}

const cancelledByCaller = () => new MeshError("cancelled", "cancelled by the caller");

/**
 * Runs one job and yields its frames; the last is always the one `end`. A job of the declared class P2 is submitted as it
 * is; of any other, and where a router wants it, it is sealed to its node (ADR 0011). Invariants: (1) exactly one end; (2) frames of
 * an attempt that was given up are never yielded, since each attempt has an inbox of its own; (3) after acceptance the job
 * is not submitted again: a node lost then is one clear error.
 */
export async function* streamJob(
  port: StreamPort,
  request: JobRequestInput,
  jobId: string,
  options: StreamOptions,
): AsyncGenerator<StreamFrame, void, undefined> {
  const deadlineMs = Math.min(
    request.deadline_unix_ms ?? Infinity,
    request.timeout_ms === undefined ? Infinity : port.nowMs() + request.timeout_ms,
  );
  const giveUpMs = Number.isFinite(deadlineMs) ? deadlineMs + DEADLINE_GRACE_MS : port.nowMs() + DEFAULT_LIMIT_MS;
  const declared = effectiveClass([options.dataClass, request.security_level]);
  const way: Way = { sealed: declared !== "P2", tickets: 0, exclude: [] };
  // Set before the end is handed over: a reader that leaves at the end cancels nothing.
  const state = { ended: false };
  let supersede = false;
  let silentSubmits = 0;
  let noRouterSinceMs: number | undefined;
  try {
    for (let submit = 1; ; submit++) {
      if (!(await busIsThere(port, giveUpMs, options.signal))) {
        yield* finish(port, jobId, "failed", new MeshError("bus_unavailable", "the bus is away"), state);
        return;
      }
      if (options.signal?.aborted) {
        yield* finish(port, jobId, "cancelled", cancelledByCaller(), state);
        return;
      }
      const attempt = openAttempt(port, { request, jobId, options }, submit, way, supersede);
      let outcome: AttemptOutcome;
      try {
        outcome = yield* readAttempt(attempt.queue, jobId, giveUpMs, port, options.signal, state, submit < MAX_TURNS);
      } finally {
        attempt.close();
      }
      if (outcome === "ended") return;
      supersede = outcome === "silent";
      if (supersede) {
        if (++silentSubmits === MAX_SILENT_SUBMITS) break;
        // The node that has the ticket is silent; without one it is the router.
        exclude(way, attempt.node());
        continue;
      }
      if (typeof outcome === "object") {
        way.sealed = outcome.sealed;
        if (outcome.sealed) exclude(way, outcome.without);
        continue;
      }
      noRouterSinceMs ??= port.nowMs();
      if (port.nowMs() + RETRY_PAUSE_MS > Math.min(giveUpMs, noRouterSinceMs + NO_ROUTER_LIMIT_MS)) break;
      await pause(RETRY_PAUSE_MS, options.signal);
    }
    yield* finish(
      port,
      jobId,
      "failed",
      new MeshError("no_router", "no router answers; is the mesh up? (tiermesh status)", { retryAfterMs: 1000 }),
      state,
    );
  } finally {
    if (!state.ended) cancel(port, jobId);
  }
}

function exclude(way: Way, node: string | undefined): void {
  if (node !== undefined && !way.exclude.includes(node)) way.exclude.push(node);
}

/** Waits for the bus to be back, within {@link NO_BUS_LIMIT_MS}; true at once when it is there or the caller has left. */
async function busIsThere(port: StreamPort, giveUpMs: number, signal: AbortSignal | undefined): Promise<boolean> {
  const untilMs = Math.min(giveUpMs, port.nowMs() + NO_BUS_LIMIT_MS);
  while (!port.connected() && signal?.aborted !== true) {
    const leftMs = untilMs - port.nowMs();
    if (leftMs <= 0) return false;
    await pause(Math.min(RETRY_PAUSE_MS, leftMs), signal);
  }
  return true;
}

/** What every attempt at a job has in common. */
interface Common {
  request: JobRequestInput;
  jobId: string;
  options: StreamOptions;
}

function openAttempt(port: StreamPort, common: Common, submit: number, way: Way, supersede: boolean) {
  const { jobId } = common;
  const queue = new FrameQueue<Incoming>(MAX_WAITING_BYTES, () => {
    cancel(port, jobId);
    return broken("the answer was read too slowly; what waited here grew too large");
  });
  let sealed: SealedAttempt | undefined;
  let bytes = 0;
  const inbox = port.openInbox((msg) => {
    bytes = msg.data.length;
    if (sealed === undefined) queue.push(readFrame(msg), bytes + FRAME_OVERHEAD_BYTES);
    else sealed.receive(msg);
  });
  if (supersede) cancel(port, jobId, encode({ superseded: true }, "json"));
  try {
    if (way.sealed) {
      const job = { ...common, attempt: ++way.tickets, exclude: way.exclude };
      sealed = new SealedAttempt(port, job, inbox.subject, (item) => queue.push(item, bytes + FRAME_OVERHEAD_BYTES));
      sealed.start();
    } else submitPlain(port, common, submit, inbox.subject);
  } catch (cause) {
    queue.push({ kind: "unsent", error: MeshError.from(cause) }, 0);
  }
  return { queue, close: () => inbox.close(), node: () => sealed?.node };
}

/** @throws MeshError `payload_too_large` or `bus_unavailable`. */
function submitPlain(port: StreamPort, { request, jobId, options }: Common, submit: number, reply: string): void {
  const headers = headersFor("shared");
  headers.set(HEADERS.job, jobId);
  headers.set(HEADERS.attempt, String(submit));
  if (options.dataClass !== undefined) headers.set(HEADERS.dataClass, options.dataClass);
  if (options.traceparent !== undefined) headers.set(HEADERS.traceparent, options.traceparent);
  const body = encode({ ...request, job_id: jobId, stream: true }, "shared");
  port.publish(port.submitSubject(options.queue), body, { headers, reply });
}

type AttemptOutcome = "ended" | "silent" | "no_router" | Again;

/** Yields the frames of one attempt up to its end; says why it stopped without one. */
async function* readAttempt(
  queue: FrameQueue<Incoming>,
  jobId: string,
  giveUpMs: number,
  port: StreamPort,
  signal: AbortSignal | undefined,
  state: { ended: boolean },
  turns: boolean,
): AsyncGenerator<StreamFrame, AttemptOutcome, undefined> {
  const fail = (status: Outcome, error: MeshError) => finish(port, jobId, status, error, state);
  let accepted = false;
  let expectedSeq = 0;
  for (;;) {
    const leftMs = giveUpMs - port.nowMs();
    const item = await queue.next(Math.min(accepted ? SILENCE_LIMIT_MS : ACCEPT_LIMIT_MS, leftMs), signal);
    if (signal?.aborted) return yield* fail("cancelled", cancelledByCaller());
    if (item === undefined) {
      if (port.nowMs() >= giveUpMs)
        return yield* fail("expired", new MeshError("deadline_exceeded", "no answer before the deadline"));
      if (!accepted) return "silent";
      return yield* fail("failed", new MeshError("node_lost", "the node that ran the job fell silent"));
    }
    if (item.kind === "no_router") {
      if (!accepted) return "no_router";
      continue;
    }
    if (item.kind === "broken") return yield* fail("failed", item.error);
    if (item.kind === "unsent") return yield* fail("refused", item.error);
    if (item.kind === "again") return item.how;
    const { frame, seq } = item;
    // A router's own ending has no sequence number and is final.
    if (seq !== undefined && seq !== expectedSeq++) {
      return yield* fail("failed", new MeshError("stream_interrupted", "a part of the answer was lost on the way"));
    }
    // Submitted in clear, but the policy wants its class sealed.
    if (turns && !accepted && frame.type === "end" && frame.error?.code === "encryption_required")
      return { sealed: true };
    if (frame.type === "accepted") accepted = true;
    state.ended = frame.type === "end";
    yield frame;
    if (state.ended) return "ended";
  }
}

/** Ends a job on the caller's side: tells the mesh to stop, and yields the one end. */
async function* finish(
  port: StreamPort,
  jobId: string,
  status: Outcome,
  error: MeshError,
  state: { ended: boolean },
): AsyncGenerator<StreamFrame, "ended", undefined> {
  cancel(port, jobId);
  state.ended = true;
  yield failure(jobId, status, error);
  return "ended";
}

/** Best effort: without a bus there is nobody to tell. */
function cancel(port: StreamPort, jobId: string, body: Uint8Array | string = ""): void {
  try {
    port.publish(port.cancelSubject(jobId), body);
  } catch {
    // The connection is closing; the node's own deadline ends the job.
  }
}
