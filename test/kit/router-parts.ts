import { createHash } from "node:crypto";
import { headers as newHeaders, type Msg, type MsgHdrs } from "@nats-io/nats-core";
import {
  NodeRecord,
  RoutingConfig,
  subjects,
  type DataClass,
  type EventData,
  type EventType,
  type MeshError,
  type NodeRecordInput,
} from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { Metrics } from "../../service/metrics.ts";
import { FleetView } from "../../router/fleet-view.ts";
import { routerMetrics } from "../../router/metrics.ts";
import type { RouterParts } from "../../router/parts.ts";
import { compilePolicy } from "../../router/policy/policy.ts";

/** A healthy L1 node with one loaded model and two free slots; `overrides` replaces whole keys. */
export function nodeRecord(nodeId: string, overrides: Partial<NodeRecordInput> = {}): NodeRecord {
  return NodeRecord.parse({
    node_id: nodeId,
    layer: "L1",
    status: "healthy",
    boot_id: "boot-1",
    seq: 0,
    // Each node has its own, which nobody can open.
    seal_keys: [{ kid: `key-${nodeId}`, public_key: keyOf(nodeId), not_after_unix_ms: 9_000_000_000_000 }],
    hardware: {},
    models: ["llama3.1-8b"],
    served_models: [{ name: "llama3.1-8b", runtime: "ollama", loaded: true, context_length: 8192 }],
    runtimes: [{ name: "ollama", kind: "ollama" }],
    load: { slots: 2, running: 0, queued: 0, queue_limit: 2 },
    cost_factor: 0.4,
    last_heartbeat: "2024-01-15T10:30:00Z",
    ...overrides,
  });
}

function keyOf(nodeId: string): string {
  return createHash("sha256").update(nodeId).digest("base64url");
}

interface Sent {
  subject: string;
  data: Uint8Array;
  reply: string | undefined;
  headers: MsgHdrs | undefined;
  json: () => Record<string, unknown>;
}

type Headers = Readonly<Record<string, string>>;

/** A message as the bus hands it over. */
function message(bus: FakeBus, subject: string, data: Uint8Array, reply: string, headers: MsgHdrs | undefined): Msg {
  return {
    subject,
    sid: 0,
    data,
    reply,
    ...(headers === undefined ? {} : { headers }),
    respond: (payload: Uint8Array | string, options: { headers?: MsgHdrs } = {}) => {
      bus.publish(reply, payload, options);
      return true;
    },
    json: () => JSON.parse(new TextDecoder().decode(data)) as never,
    string: () => new TextDecoder().decode(data),
  };
}

/** A bus inside this process: what is published is kept, and a test delivers what others would send. */
export class FakeBus {
  readonly sent: Sent[] = [];
  readonly subjects = subjects();
  /** Publishing a larger body throws, as the client library does. */
  maxBytes = Infinity;
  readonly #handlers = new Set<readonly [string, (msg: Msg) => void]>();
  readonly #waiting = new Set<() => void>();
  /** The connection is away. */
  away = false;
  readonly #statuses: ((type: string) => void)[] = [];

  readonly nc = {
    status: () => this.#followStatus(),
    publish: (subject: string, data?: Uint8Array | string, options?: { headers?: MsgHdrs; reply?: string }) =>
      this.publish(subject, data, options),
    isClosed: () => false,
    isDraining: () => false,
  };

  connected(): boolean {
    return !this.away;
  }

  /** What the library tells of its connection; resolves when whoever follows it has heard. */
  async status(type: string): Promise<void> {
    for (const tell of this.#statuses) tell(type);
    await new Promise(setImmediate);
  }

  async *#followStatus(): AsyncGenerator<{ type: string }> {
    for (;;) yield { type: await new Promise<string>((resolve) => void this.#statuses.push(resolve)) };
  }

  listen(subject: string, handler: (msg: Msg) => void) {
    const entry = [subject, handler] as const;
    this.#handlers.add(entry);
    return { drain: async () => void this.#handlers.delete(entry) };
  }

  publish(
    subject: string,
    data: Uint8Array | string = "",
    { headers, reply }: { headers?: MsgHdrs; reply?: string } = {},
  ): void {
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    if (bytes.length > this.maxBytes) throw new Error("'payload' max_payload size exceeded");
    const json = () => JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
    this.sent.push({ subject, data: bytes, reply, headers, json });
    for (const look of this.#waiting) look();
  }

  /** Hands a message to whoever listens on its subject. */
  deliver(subject: string, body: unknown, options: { reply?: string; headers?: Headers; code?: number } = {}): void {
    const headers = options.code === undefined ? newHeaders() : newHeaders(options.code, "No Responders");
    for (const [name, value] of Object.entries(options.headers ?? {})) headers.set(name, value);
    const data =
      body instanceof Uint8Array ? body : new TextEncoder().encode(body === undefined ? "" : JSON.stringify(body));
    for (const [pattern, handler] of this.#handlers) {
      if (matches(pattern, subject)) handler(message(this, subject, data, options.reply ?? "", headers));
    }
  }

  on(prefix: string): Sent[] {
    return this.sent.filter(({ subject }) => subject.startsWith(prefix));
  }

  /** The first message, past or future, that was published on a subject with this prefix. */
  async next(prefix: string, skip = 0): Promise<Sent> {
    for (;;) {
      const found = this.on(prefix)[skip];
      if (found !== undefined) return found;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.add(resolve);
      await promise;
      this.#waiting.delete(resolve);
    }
  }
}

function matches(pattern: string, subject: string): boolean {
  const parts = pattern.split(".");
  const tokens = subject.split(".");
  return parts.length === tokens.length && parts.every((part, i) => part === "*" || part === tokens[i]);
}

/** Keeps events; each is durable at once unless `stall` is set. */
export class FakeEvents {
  readonly seen: { type: EventType; data: unknown; dataClass: DataClass | undefined }[] = [];
  /** Resolves when a record counts as durable; undefined = at once. */
  stall: Promise<void> | undefined;
  /** Thrown by the next records. */
  failure: MeshError | undefined;

  record<T extends EventType>(type: T, data: EventData<T>, options: { dataClass?: DataClass | undefined } = {}) {
    if (this.failure !== undefined) throw this.failure;
    this.seen.push({ type, data, dataClass: options.dataClass });
    return { id: `event-${this.seen.length}`, durable: this.stall ?? Promise.resolve() };
  }

  of<T extends EventType>(type: T): EventData<T>[] {
    return this.seen.filter((event) => event.type === type).map(({ data }) => data as EventData<T>);
  }
}

/** SEED's policy, but P0 goes in clear as P1 does: for tests of what is the same for every class. */
export const UNSEALED = {
  security: {
    P0: { allowed_layers: ["L0", "L1"], forbidden_layers: ["L2"] },
    P1: { allowed_layers: ["L0", "L1"] },
    P2: { allowed_layers: ["L0", "L1", "L2"] },
  },
};

/** A router's parts with a fake bus, fake events and no clock of its own; nodes join by `join`. */
export function routerParts(policyOverrides: Record<string, unknown> = {}) {
  const bus = new FakeBus();
  const events = new FakeEvents();
  const rejected: { kind: string; error: MeshError }[] = [];
  const routing = RoutingConfig.parse({ routing_policy: policyOverrides });
  const policy = compilePolicy(routing, "test@1");
  const fleet = new FleetView(events as never);
  const parts: RouterParts = {
    id: "router-1",
    bus: bus as unknown as Bus,
    fleet,
    events: events as never,
    rejections: { add: (kind: string, error: MeshError) => void rejected.push({ kind, error }) } as never,
    metrics: routerMetrics(new Metrics("router")),
    log: createLog("test", "silent"),
    policy: () => policy,
    random: () => 0.5,
  };
  const join = (...records: NodeRecord[]) => {
    for (const record of records) fleet.onHeartbeat(record, Date.now());
  };
  return { parts, bus, events, rejected, fleet, join };
}
