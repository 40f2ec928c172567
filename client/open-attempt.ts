import { HEADERS, MeshError, type JobRequestInput } from "../bus-schemas/index.ts";
import { encode } from "../service/codec.ts";
import { headersFor } from "../service/messages.ts";
import { broken, readFrame, type Incoming, type StreamOptions, type StreamPort } from "./attempt.ts";
import { FrameQueue } from "./frame-queue.ts";
import { SealedAttempt } from "./sealing/sealed-attempt.ts";

/** Frames that wait for a slow reader; one that is further behind loses the stream, bytes. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;
/** What a frame costs beside its body, about, bytes. */
const FRAME_OVERHEAD_BYTES = 500;
/** How the next attempt at a job goes. */
export interface Way {
  /** Its router is asked first whether it must be sealed; false = submitted as it is. */
  sealed: boolean;
  /** Tickets asked for so far. */
  tickets: number;
  /** Which try this is of those that a node took, from 1. */
  tries: number;
  /** Nodes that did not take it, or were lost with it. */
  exclude: string[];
}

/** What every attempt at a job has in common. */
interface Common {
  request: JobRequestInput;
  jobId: string;
  options: StreamOptions;
}

/** Sends the job on its way, in clear or sealed; what comes back goes into the queue. */
export function openAttempt(port: StreamPort, common: Common, submit: number, way: Way, supersede?: { node?: string }) {
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
  if (supersede !== undefined) {
    const { node } = supersede;
    // Its router learns which node is meant; and whoever else has a try of it, by whatever chance, ends that too.
    if (node !== undefined) cancel(port, jobId, encode({ superseded: true, node_id: node }, "json"));
    cancel(port, jobId, encode({ superseded: true }, "json"));
  }
  try {
    if (way.sealed) {
      const job = { ...common, attempt: ++way.tickets, exclude: way.exclude };
      sealed = new SealedAttempt(port, job, inbox.subject, (item) => queue.push(item, bytes + FRAME_OVERHEAD_BYTES));
      sealed.start();
    } else submitPlain(port, common, submit, way, inbox.subject);
  } catch (cause) {
    queue.push({ kind: "unsent", error: MeshError.from(cause) }, 0);
  }
  return { queue, close: () => inbox.close(), node: () => sealed?.node, triesLeft: () => sealed?.triesLeft };
}

/** @throws MeshError `payload_too_large` or `bus_unavailable`. */
function submitPlain(port: StreamPort, common: Common, submit: number, way: Way, reply: string): void {
  const { request, jobId, options } = common;
  const headers = headersFor("shared");
  headers.set(HEADERS.job, jobId);
  headers.set(HEADERS.attempt, String(submit));
  headers.set(HEADERS.resume, String(way.tries));
  if (options.dataClass !== undefined) headers.set(HEADERS.dataClass, options.dataClass);
  if (options.traceparent !== undefined) headers.set(HEADERS.traceparent, options.traceparent);
  const without = [...(request.exclude_nodes ?? []), ...way.exclude];
  const exclude = without.length === 0 ? {} : { exclude_nodes: without };
  const body = encode({ ...request, job_id: jobId, stream: true, ...exclude }, "shared");
  port.publish(port.submitSubject(options.queue), body, { headers, reply });
}

/** Best effort: without a bus there is nobody to tell. */
export function cancel(port: StreamPort, jobId: string, body: Uint8Array | string = ""): void {
  try {
    port.publish(port.cancelSubject(jobId), body);
  } catch {
    // The connection is closing; the node's own deadline ends the job.
  }
}
