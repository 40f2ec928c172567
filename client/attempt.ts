import type { Msg } from "@nats-io/nats-core";
import {
  HEADERS,
  JobResult,
  LostNotice,
  MeshError,
  StreamFrame,
  parseOrThrow,
  type DataClass,
  type Outcome,
} from "../bus-schemas/index.ts";
import { decode } from "../service/codec.ts";
import { header, type headersFor } from "../service/messages.ts";

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
  routeSubject: string;
  sealedSubject(dataClass: DataClass, node: string): string;
  /** What the cell's subjects begin with; sealed jobs are bound to it. */
  cellPrefix: string;
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

/** What comes to the inbox of one attempt, in the order in which it came. */
export type Incoming =
  | { kind: "frame"; frame: StreamFrame; seq: number | undefined }
  | { kind: "no_router" }
  /** The router says that the node is gone. */
  | { kind: "lost"; node: string }
  | { kind: "broken"; error: MeshError }
  | { kind: "unsent"; error: MeshError }
  /** The job goes on by another attempt at once. */
  | { kind: "again"; how: Again };

/** How the next attempt goes: in clear, or sealed and then without a node that did not take the job. */
export type Again = { sealed: false } | { sealed: true; without?: string };

/** A frame that came in clear. */
export function readFrame(msg: Msg): Incoming {
  // The broker answers for a subject nobody listens on: status 503, no body (NATS protocol, no responders).
  if (isNoResponder(msg)) return { kind: "no_router" };
  try {
    const body = decode(msg.data, header(msg, HEADERS.contentType));
    const seq = header(msg, HEADERS.seq);
    // Only a router speaks without a number; a node cannot say that another is lost.
    const lost = seq === undefined && isLost(body) ? LostNotice.safeParse(body).data : undefined;
    if (lost !== undefined) return { kind: "lost", node: lost.node_id };
    const frame = parseOrThrow(StreamFrame, body);
    return { kind: "frame", frame, seq: seq === undefined ? undefined : Number(seq) };
  } catch {
    return broken("the answer's stream holds a malformed frame");
  }
}

function isLost(body: unknown): boolean {
  return (body as { type?: unknown } | null)?.type === "lost";
}

export function isNoResponder(msg: Msg): boolean {
  return msg.headers?.code === 503 && msg.data.length === 0;
}

export function broken(message: string): Incoming {
  return { kind: "broken", error: new MeshError("stream_interrupted", message) };
}

/** An ending that this side makes. */
export function failure(jobId: string, status: Outcome, error: MeshError): JobResult {
  return JobResult.parse({ job_id: jobId, status, error: error.toWire() });
}
