import { errors, type Msg, type Subscription } from "@nats-io/nats-core";
import { z } from "zod";
import {
  Decision,
  HEADERS,
  JobId,
  JobRequest,
  MeshError,
  SubjectToken,
  WireError,
  joinToolCalls,
  parseOrThrow,
  type AuditReceipt,
  type CallerInput,
  type DataClass,
  type JobReceipt,
  type JobRequestInput,
  type JobResult,
  type JobStatus,
  type StreamFrame,
  type ToolCallDelta,
} from "../bus-schemas/index.ts";
import { connectBus, type Bus, type BusAddress } from "../service/bus.ts";
import { decode, encode } from "../service/codec.ts";
import { jobIdOfKey, newId } from "../service/ids.ts";
import { createLog, type Log } from "../service/log.ts";
import { header, headersFor } from "../service/messages.ts";
import { serveStructures } from "../service/structures-exchange.ts";
import { failure, type StreamPort } from "./attempt.ts";
import { DurableCalls, type EnqueueOptions } from "./durable.ts";
import { Identity, type IdentityOptions } from "./identity.ts";
import { streamJob } from "./job-stream.ts";
import { NodeWatcher } from "./nodes.ts";
import { askReceipt } from "./receipts.ts";

export interface ConnectOptions extends BusAddress, IdentityOptions {
  /** Shown in the broker's list of connections. */
  name?: string;
  log?: Log;
}

export interface CallOptions {
  /** Task queue; by default the request's `task_type`, and without one `chat`. */
  queue?: string;
  /** Data class beside the request's `security_level`; the stricter counts. */
  dataClass?: DataClass;
  /** W3C trace context to continue. */
  traceparent?: string;
  /** For whom the job is; recorded with it, not checked by anybody. */
  caller?: CallerInput;
  /** Aborting cancels the job. */
  signal?: AbortSignal;
}

/** Routers answer a decide-only request within this time, milliseconds. */
const DECIDE_LIMIT_MS = 2000;
/** Queue of a request that names none. */
const DEFAULT_QUEUE = "chat";

/**
 * Submits jobs to the mesh. What can be expected (refused, expired, failed, cancelled) comes back as a value with
 * `error`; only a lost bus at `connect` and a missing router at `decide` throw.
 */
export class MeshClient implements AsyncDisposable {
  readonly bus: Bus;
  /** Durable jobs; what most programs need of it is beside it: enqueue, jobStatus, waitFor, withdraw. */
  readonly durable: DurableCalls;
  #nodes: NodeWatcher | undefined;
  readonly #replies: Subscription;
  readonly #inboxes = new Map<string, (msg: Msg) => void>();
  readonly #prefix: string;
  readonly #port: StreamPort;
  readonly #identity: Identity;

  constructor(bus: Bus, identity: IdentityOptions = {}) {
    this.bus = bus;
    this.#identity = new Identity(identity);
    this.durable = new DurableCalls(bus, this.#identity);
    serveStructures(bus);
    this.#prefix = `${bus.inbox}.job.`;
    this.#replies = bus.listen(`${this.#prefix}*`, (msg) =>
      this.#inboxes.get(msg.subject.slice(this.#prefix.length))?.(msg),
    );
    this.#port = {
      publish: (subject, body, options) => {
        try {
          bus.nc.publish(subject, body, options);
        } catch (cause) {
          throw notSent(bus, cause);
        }
      },
      openInbox: (onMessage) => this.#openInbox(onMessage),
      submitSubject: bus.subjects.submit,
      cancelSubject: bus.subjects.cancel,
      routeSubject: bus.subjects.route,
      sealedSubject: bus.subjects.sealed,
      cellPrefix: bus.subjects.prefix,
      // A connection that was closed for good says so itself, when something is published on it.
      connected: () => bus.connected() || bus.nc.isClosed(),
      nowMs: Date.now,
    };
  }

  /** @throws MeshError `bus_unavailable` */
  static async connect(options: ConnectOptions): Promise<MeshClient> {
    const log = options.log ?? createLog("client", "warn");
    return new MeshClient(await connectBus(options.name ?? "client", options, log), options);
  }

  /** The fleet as its heartbeats show it; watching starts at first use. */
  get nodes(): NodeWatcher {
    this.#nodes ??= new NodeWatcher(this.bus);
    return this.#nodes;
  }

  /** Runs a job to its end. */
  async submit(request: JobRequestInput, options: CallOptions = {}): Promise<JobResult> {
    let content = "";
    const toolCalls: ToolCallDelta[] = [];
    for await (const frame of this.stream(request, options)) {
      if (frame.type === "delta") {
        content += frame.content ?? "";
        if (frame.tool_calls !== undefined) toolCalls.push(...(frame.tool_calls as ToolCallDelta[]));
      }
      // The end frame of a stream carries no message: the deltas were the message.
      if (frame.type === "end") {
        if (frame.message !== null || frame.output !== null || frame.status !== "finished") return frame;
        const calls = joinToolCalls(toolCalls);
        const text = content === "" && calls.length > 0 ? null : content;
        return {
          ...frame,
          message: { role: "assistant", content: text, ...(calls.length === 0 ? {} : { tool_calls: calls }) },
        };
      }
    }
    throw new MeshError("internal", "a stream ended without its end");
  }

  /** Runs a job and yields its frames; the last is always `end`. Leaving the loop early cancels the job. */
  async *stream(request: JobRequestInput, options: CallOptions = {}): AsyncGenerator<StreamFrame, void, undefined> {
    const { idempotency_key: key } = request;
    const jobId = request.job_id ?? (key === undefined ? newId() : jobIdOfKey(String(key)));
    const queue = options.queue ?? request.task_type ?? DEFAULT_QUEUE;
    let job: JobRequestInput;
    try {
      parseOrThrow(JobRequest, request);
      if (request.durable === true)
        throw new MeshError("bad_request", "durable: such a job is enqueued, and has no stream", { field: "durable" });
      if (!SubjectToken.safeParse(queue).success)
        throw new MeshError("bad_request", "queue: letters, digits, _ and -, 1 to 64 characters", { field: "queue" });
      job = await this.#identity.on(request, jobId, options.caller);
    } catch (error) {
      yield failure(JobId.safeParse(jobId).success ? jobId : newId(), "refused", MeshError.from(error));
      return;
    }
    yield* streamJob(this.#port, job, jobId, { ...options, queue });
  }

  /**
   * Asks where a job would go; nothing is run.
   * @throws MeshError `no_router`, `bus_unavailable`, `payload_too_large`, or `bad_request` naming the field.
   */
  async decide(request: JobRequestInput, options: CallOptions = {}): Promise<Decision> {
    const headers = headersFor("shared");
    if (options.dataClass !== undefined) headers.set(HEADERS.dataClass, options.dataClass);
    // Nothing is decided by either, and nothing of it recorded.
    const { caller: _caller, commitment_salt: _salt, ...about } = request;
    let reply: Msg;
    try {
      reply = await this.bus.nc.request(this.bus.subjects.route, encode(about, "shared"), {
        timeout: DECIDE_LIMIT_MS,
        headers,
      });
    } catch (error) {
      if (NOT_SENT.some((kind) => error instanceof kind)) throw notSent(this.bus, error);
      throw new MeshError("no_router", "no router answers; is the mesh up? (tiermesh status)", {
        cause: error,
        retryAfterMs: 1000,
      });
    }
    const body = decode(reply.data, header(reply, HEADERS.contentType));
    const refused = z.object({ outcome: z.undefined().optional(), error: WireError }).safeParse(body);
    if (refused.success) throw MeshError.fromWire(refused.data.error);
    return parseOrThrow(Decision, body, "internal");
  }

  /**
   * The proof that the ending of a job is in the auditor's signed log; waits for it, a second or two.
   * @throws MeshError `not_found` when there is none, `audit_unavailable` when no auditor answers
   */
  receipt(jobId: string): Promise<AuditReceipt> {
    return askReceipt(this.bus, jobId);
  }

  /**
   * Stops a job wherever it is; its caller gets `cancelled`.
   * @throws MeshError `bad_request` when it is no job id, `bus_unavailable` when this client is closed.
   */
  cancel(jobId: string): void {
    this.#port.publish(this.bus.subjects.cancel(parseOrThrow(JobId, jobId)), "");
  }

  /** Puts a durable job in its queue: the broker keeps it until it has ended. @throws MeshError why not */
  enqueue(request: JobRequestInput, options: EnqueueOptions = {}): Promise<JobReceipt> {
    return this.durable.enqueue(request, options);
  }

  /** How a durable job is, with its result as long as that is kept. @throws MeshError `not_found`, `no_router` */
  jobStatus(jobId: string): Promise<JobStatus> {
    return this.durable.status(jobId);
  }

  /** Resolves when a durable job has ended or is dead. @throws MeshError as `jobStatus`, `cancelled` by the signal */
  waitFor(jobId: string, signal?: AbortSignal): Promise<JobStatus> {
    return this.durable.waitFor(jobId, signal);
  }

  /** Takes a durable job back, whether it waits or runs. @throws MeshError as `jobStatus` */
  withdraw(jobId: string): Promise<JobStatus> {
    return this.durable.withdraw(jobId);
  }

  async close(): Promise<void> {
    this.#nodes?.close();
    this.#replies.unsubscribe();
    await this.bus.drain();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #openInbox(onMessage: (msg: Msg) => void): { subject: string; close(): void } {
    // Not a number: the node that answers one job is told where, and must not know from that where the others are answered.
    const token = newId();
    this.#inboxes.set(token, onMessage);
    return { subject: this.#prefix + token, close: () => void this.#inboxes.delete(token) };
  }
}

/** What the library throws for a message that it does not even send. */
const NOT_SENT = [errors.ClosedConnectionError, errors.DrainingConnectionError, errors.InvalidArgumentError];

/** Why the library did not take a message: the connection is closing, or the message is larger than the bus takes. */
function notSent(bus: Bus, cause: unknown): MeshError {
  return bus.nc.isClosed() || bus.nc.isDraining()
    ? new MeshError("bus_unavailable", "the connection to the bus is closed", { cause })
    : new MeshError("payload_too_large", "the job is larger than the bus takes", { cause });
}
