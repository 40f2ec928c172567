import {
  MeshError,
  effectiveClass,
  type JobRequestInput,
  type JobResult,
  type Outcome,
  type StreamFrame,
} from "../bus-schemas/index.ts";
import { encode } from "../service/codec.ts";
import { pause } from "../service/loop.ts";
import { failure, type Again, type Incoming, type StreamOptions, type StreamPort } from "./attempt.ts";
import type { FrameQueue } from "./frame-queue.ts";
import { cancel, openAttempt, type Way } from "./open-attempt.ts";
import { Progress } from "./progress.ts";

/** A router answers (accepts for a node, or refuses) within this time; otherwise the job is submitted again, milliseconds. */
const ACCEPT_LIMIT_MS = 2000;
/** An agent says something at least every second; silence beyond this means that it is lost, milliseconds. */
const SILENCE_LIMIT_MS = 3200;
/** Nodes that a job may be lost with; its router allows as many as its policy says. */
const MAX_TRIES = 3;
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
/** The node enforces the deadline; the caller gives its answer this long to arrive, milliseconds. */
const DEADLINE_GRACE_MS = 500;

/** Routers that disagree whether a job must be sealed, because one has not heard of a new policy yet, are asked so often. */
const MAX_TURNS = 5;

const tooLate = () => new MeshError("deadline_exceeded", "no answer before the deadline");
const cancelledByCaller = () => new MeshError("cancelled", "cancelled by the caller");

/**
 * Runs one job and yields its frames; the last is always the one `end`. A job of the declared class P2 is submitted as it
 * is; of any other, and where a router wants it, it is sealed to its node (ADR 0011). Invariants: (1) exactly one end; (2) frames of
 * an attempt that was given up are never yielded, since each attempt has an inbox of its own; (3) what was yielded stays as
 * it is: a job whose node is lost begins anew elsewhere while nothing of its answer was yielded, is gone on with from there
 * where that can be done, and else ends with one `stream_interrupted` (ADR 0016). `accepted` comes again, for the next node,
 * only before the first piece.
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
  const way: Way = { sealed: declared !== "P2", tickets: 0, tries: 1, exclude: [] };
  // Set before the end is handed over: a reader that leaves at the end cancels nothing.
  const state: ReadState = { ended: false, progress: new Progress() };
  const { progress } = state;
  let job = request;
  /** The try before, which nobody wants to hear of any more: everywhere, or on one node. */
  let supersede: { node?: string } | undefined;
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
      const attempt = openAttempt(port, { request: job, jobId, options }, submit, way, supersede);
      let outcome: AttemptOutcome;
      try {
        outcome = yield* readAttempt(attempt.queue, jobId, giveUpMs, port, options.signal, state, submit < MAX_TURNS);
      } finally {
        attempt.close();
      }
      if (outcome === "ended") return;
      supersede = outcome === "silent" ? {} : undefined;
      if (outcome === "silent") {
        if (++silentSubmits === MAX_SILENT_SUBMITS) break;
        // The node that has the ticket is silent; without one it is the router.
        exclude(way, attempt.node());
        continue;
      }
      if (outcome !== "no_router" && "lost" in outcome) {
        const { lost } = outcome;
        const stuck = progress.begun ? progress.stuck(request) : undefined;
        const triesLeft = attempt.triesLeft() ?? MAX_TRIES - way.tries;
        if (triesLeft <= 0 || stuck !== undefined) {
          yield* giveUp(port, jobId, lost, stuck, state);
          return;
        }
        const node = progress.accepted?.node_id;
        exclude(way, node);
        supersede = node === undefined ? {} : { node };
        way.tries++;
        job = progress.begun ? progress.rest(request) : request;
        // The time that is gone is gone: what is left counts for the next node.
        if (Number.isFinite(deadlineMs)) job = { ...job, deadline_unix_ms: Math.round(deadlineMs) };
        continue;
      }
      if (outcome !== "no_router") {
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

/** Of the reading of one job over all its attempts. */
interface ReadState {
  ended: boolean;
  progress: Progress;
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

type AttemptOutcome = "ended" | "silent" | "no_router" | Again | { lost: MeshError };

/** Yields the frames of one attempt up to its end; says why it stopped without one. */
async function* readAttempt(
  queue: FrameQueue<Incoming>,
  jobId: string,
  giveUpMs: number,
  port: StreamPort,
  signal: AbortSignal | undefined,
  state: ReadState,
  turns: boolean,
): AsyncGenerator<StreamFrame, AttemptOutcome, undefined> {
  const { progress } = state;
  const fail = (status: Outcome, error: MeshError) => finish(port, jobId, status, error, state);
  let accepted = false;
  /** It has written a piece of the answer. */
  let spoke = false;
  let expectedSeq = 0;
  for (;;) {
    const leftMs = giveUpMs - port.nowMs();
    // Also of an answer that does not end: what waits here is not read any more.
    if (leftMs < 0) return yield* fail("expired", tooLate());
    const item = await queue.next(Math.min(accepted ? SILENCE_LIMIT_MS : ACCEPT_LIMIT_MS, leftMs), signal);
    if (signal?.aborted) return yield* fail("cancelled", cancelledByCaller());
    if (item === undefined) {
      if (port.nowMs() >= giveUpMs) return yield* fail("expired", tooLate());
      if (!accepted) return "silent";
      return { lost: new MeshError("node_lost", "the node that ran the job fell silent") };
    }
    if (item.kind === "lost") return { lost: new MeshError("node_lost", `${item.node} was lost while it ran the job`) };
    if (item.kind === "no_router") {
      if (!accepted) return "no_router";
      continue;
    }
    if (item.kind === "broken") return yield* fail("failed", item.error);
    if (item.kind === "unsent") return yield* fail("refused", item.error);
    if (item.kind === "again") return item.how;
    const { frame, seq } = item;
    // A router's own ending has no sequence number and is final.
    if (seq !== undefined && seq !== expectedSeq++)
      return { lost: new MeshError("stream_interrupted", "a part of the answer was lost on the way") };
    // Submitted in clear, but the policy wants its class sealed.
    if (turns && !accepted && frame.type === "end" && frame.error?.code === "encryption_required")
      return { sealed: true };
    if (frame.type === "end") {
      if (frame.handed_back && frame.error !== null) return { lost: MeshError.fromWire(frame.error) };
      state.ended = true;
      // A node that was to go on and has written nothing: to the caller it is the first one's loss.
      const unheard = progress.begun && !spoke && (frame.status === "refused" || frame.status === "failed");
      yield unheard ? interrupted(frame) : progress.whole(frame);
      return "ended";
    }
    if (frame.type === "accepted") {
      accepted = true;
      progress.accepted = frame;
      // To the caller it is one answer.
      if (progress.begun) continue;
    } else if (frame.type === "delta") {
      spoke = true;
      progress.take(frame);
    }
    yield frame;
  }
}

/** An answer was begun, and nobody goes on with it. */
function interrupted({ job_id: jobId, error }: JobResult): JobResult {
  const why = error?.message ?? "no reason given";
  return failure(
    jobId,
    "failed",
    new MeshError("stream_interrupted", `the node was lost, and no other goes on: ${why}`),
  );
}

/** The node is lost and the job ends with it; who records its ending is told. */
async function* giveUp(
  port: StreamPort,
  jobId: string,
  lost: MeshError,
  stuck: string | undefined,
  state: ReadState,
): AsyncGenerator<StreamFrame, void, undefined> {
  const { begun } = state.progress;
  const error = begun
    ? new MeshError("stream_interrupted", `${lost.message}${stuck === undefined ? "" : `; ${stuck}`}`)
    : lost;
  cancel(port, jobId, encode({ gave_up: true }, "json"));
  state.ended = true;
  yield failure(jobId, "failed", error);
}

/** Ends a job on the caller's side: tells the mesh to stop, and yields the one end. */
async function* finish(
  port: StreamPort,
  jobId: string,
  status: Outcome,
  error: MeshError,
  state: Pick<ReadState, "ended">,
): AsyncGenerator<StreamFrame, "ended", undefined> {
  cancel(port, jobId);
  state.ended = true;
  yield failure(jobId, status, error);
  return "ended";
}
