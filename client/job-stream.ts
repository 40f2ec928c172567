import type { Msg } from "@nats-io/nats-core";
import {
  HEADERS,
  JobResult,
  MeshError,
  StreamFrame,
  parseOrThrow,
  type DataClass,
  type JobRequestInput,
  type Outcome,
} from "../bus-schemas/index.ts";
import { decode, encode } from "../service/codec.ts";
import { pause } from "../service/loop.ts";
import { header, headersFor } from "../service/messages.ts";
import { FrameQueue } from "./frame-queue.ts";

/** What a stream needs of the client: the bus, an inbox of its own. */
export interface StreamPort {
  /** @throws MeshError `payload_too_large` or `bus_unavailable`. */
  publish(
    subject: string,
    body: Uint8Array | string,
    options?: { headers?: ReturnType<typeof headersFor>; reply?: string },
  ): void;
  openInbox(onMessage: (msg: Msg) => void): { subject: string; close(): void };
  submitSubject(queue: string): string;
  cancelSubject(job: string): string;
  /** False while the bus is away: what is published then is lost. */
  connected(): boolean;
  nowMs(): number;
}

export interface StreamOptions {
  queue: string;
  dataClass?: DataClass | undefined;
  traceparent?: string | undefined;
  signal?: AbortSignal | undefined;
}

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

type Incoming =
  | { kind: "frame"; frame: StreamFrame; seq: number | undefined }
  | { kind: "no_router" }
  | { kind: "broken"; error: MeshError }
  | { kind: "unsent"; error: MeshError };

const cancelledByCaller = () => new MeshError("cancelled", "cancelled by the caller");

/**
 * Runs one job and yields its frames; the last is always the one `end`. Invariants: (1) exactly one end; (2) frames of
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
  const body = encode({ ...request, job_id: jobId, stream: true }, "shared");
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
      const attempt = openAttempt(port, jobId, body, submit, options, supersede);
      try {
        const outcome = yield* readAttempt(attempt.queue, jobId, giveUpMs, port, options.signal, state);
        if (outcome === "ended") return;
        supersede = outcome === "silent";
        if (supersede && ++silentSubmits === MAX_SILENT_SUBMITS) break;
      } finally {
        attempt.close();
      }
      if (supersede) continue;
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

/** Waits for the bus to be back, within {@link NO_BUS_LIMIT_MS}; true at once when it is there or the caller has left. */
async function busIsThere(port: StreamPort, giveUpMs: number, signal: AbortSignal | undefined): Promise<boolean> {
  const untilMs = Math.min(giveUpMs, port.nowMs() + NO_BUS_LIMIT_MS);
  while (!port.connected() && signal?.aborted !== true) {
    if (port.nowMs() >= untilMs) return false;
    await pause(RETRY_PAUSE_MS, signal);
  }
  return true;
}

function openAttempt(
  port: StreamPort,
  jobId: string,
  body: Uint8Array,
  submit: number,
  options: StreamOptions,
  supersede: boolean,
) {
  const queue = new FrameQueue<Incoming>(MAX_WAITING_BYTES, () => {
    cancel(port, jobId);
    return broken("the answer was read too slowly; what waited here grew too large");
  });
  const inbox = port.openInbox((msg) => queue.push(readFrame(msg), msg.data.length + FRAME_OVERHEAD_BYTES));
  if (supersede) cancel(port, jobId, encode({ superseded: true }, "json"));
  const headers = headersFor("shared");
  headers.set(HEADERS.job, jobId);
  headers.set(HEADERS.attempt, String(submit));
  if (options.dataClass !== undefined) headers.set(HEADERS.dataClass, options.dataClass);
  if (options.traceparent !== undefined) headers.set(HEADERS.traceparent, options.traceparent);
  try {
    port.publish(port.submitSubject(options.queue), body, { headers, reply: inbox.subject });
  } catch (cause) {
    queue.push({ kind: "unsent", error: MeshError.from(cause) }, 0);
  }
  return { queue, close: () => inbox.close() };
}

function readFrame(msg: Msg): Incoming {
  // The broker answers for a subject nobody listens on: status 503, no body (NATS protocol, no responders).
  if (msg.headers?.code === 503 && msg.data.length === 0) return { kind: "no_router" };
  try {
    const frame = parseOrThrow(StreamFrame, decode(msg.data, header(msg, HEADERS.contentType)));
    const seq = header(msg, HEADERS.seq);
    return { kind: "frame", frame, seq: seq === undefined ? undefined : Number(seq) };
  } catch {
    return broken("the answer's stream holds a malformed frame");
  }
}

function broken(message: string): Incoming {
  return { kind: "broken", error: new MeshError("stream_interrupted", message) };
}

/** Yields the frames of one attempt up to its end; says why it stopped without one. */
async function* readAttempt(
  queue: FrameQueue<Incoming>,
  jobId: string,
  giveUpMs: number,
  port: StreamPort,
  signal: AbortSignal | undefined,
  state: { ended: boolean },
): AsyncGenerator<StreamFrame, "ended" | "silent" | "no_router", undefined> {
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
    const { frame, seq } = item;
    // A router's own ending has no sequence number and is final.
    if (seq !== undefined && seq !== expectedSeq++) {
      return yield* fail("failed", new MeshError("stream_interrupted", "a part of the answer was lost on the way"));
    }
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

/** An ending that this side makes. */
export function failure(jobId: string, status: Outcome, error: MeshError): JobResult {
  return JobResult.parse({ job_id: jobId, status, error: error.toWire() });
}
