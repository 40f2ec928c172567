import {
  ControlRequest,
  MODEL_COMMANDS,
  MeshError,
  isInbox,
  type ControlReply,
  type ModelCommand,
  type ModelProgress,
} from "../bus-schemas/index.ts";
import type { Msg } from "@nats-io/nats-core";
import type { Bus } from "../service/bus.ts";
import type { EventPublisher } from "../service/events.ts";
import { readBody, respond } from "../service/messages.ts";
import type { Rejections } from "../service/rejections.ts";
import type { ModelOrders, PlacedOrder } from "./model-orders.ts";
import type { RuntimeDesk } from "./runtime-desk.ts";
import type { Stance } from "./stance.ts";

const STATUS_AFTER = { cordon: "cordoned", drain: "draining", suspend: "suspended", resume: "healthy" } as const;
/** While a model is loaded or downloaded its operator hears so often, milliseconds; silence for longer means that we are gone. */
const TELL_EVERY_MS = 1000;

export interface ControlParts {
  bus: Bus;
  nodeId: string;
  stance: Stance;
  desk: Pick<RuntimeDesk, "handBack">;
  orders: Pick<ModelOrders, "place" | "carryOut">;
  events: EventPublisher;
  rejections: Rejections;
  heartbeatNow: () => void;
  /** Aborts when the agent stops: what is under way is then given up. */
  signal: AbortSignal;
}

type ModelRequest = Extract<ControlRequest, { command: ModelCommand }>;

/** Serves an operator's commands to this node: cordon, drain, suspend and resume, and those about its models. */
export function serveControl(parts: ControlParts): void {
  const { bus, desk, nodeId, stance, events, rejections, heartbeatNow } = parts;
  bus.listen(bus.subjects.control(nodeId), (msg) => {
    try {
      // What JetStream delivers where its asker says has a reply subject of its own: that is no operator.
      if (!isInbox(msg.reply ?? "")) throw new MeshError("bad_request", "reply: not an inbox", { field: "reply" });
      const request = readBody(msg, ControlRequest);
      if (isModelRequest(request)) return void carryOut(parts, msg, request);
      const reason = request.command === "resume" ? null : (request.reason ?? null);
      stance.set(STATUS_AFTER[request.command], reason);
      events.record("node_controlled", { node_id: nodeId, command: request.command, reason, ...byOf(request) });
      heartbeatNow();
      // The machine is wanted now: what runs goes on elsewhere. Cordoned and draining nodes end what they have.
      if (request.command === "suspend") desk.handBack(stance.closedBecause ?? "the node is suspended");
      tell(parts, msg, {});
    } catch (cause) {
      const error = MeshError.from(cause);
      rejections.add("control", error);
      tell(parts, msg, { error });
    }
  });
}

function byOf({ by }: ControlRequest): { by?: string } {
  return by === undefined ? {} : { by };
}

function isModelRequest(request: ControlRequest): request is ModelRequest {
  return Object.hasOwn(MODEL_COMMANDS, request.command);
}

/** Never throws. Its operator hears of it at least once a second until the end, and the record has its end. */
async function carryOut(parts: ControlParts, msg: Msg, request: ModelRequest): Promise<void> {
  const { command, model, runtime } = request;
  const { orders, events, nodeId, rejections, signal } = parts;
  let progress: ModelProgress | null = null;
  let placed: PlacedOrder | undefined;
  let error: MeshError | undefined;
  const tellProgress = () => tell(parts, msg, { progress, done: false });
  const timer = setInterval(tellProgress, TELL_EVERY_MS);
  try {
    placed = orders.place(MODEL_COMMANDS[command], model, runtime);
    const onProgress = (next: ModelProgress) => {
      const first = progress?.phase !== next.phase;
      progress = next;
      if (first) tellProgress();
    };
    await orders.carryOut(placed, onProgress, signal);
  } catch (cause) {
    error = MeshError.from(cause);
  } finally {
    clearInterval(timer);
  }
  const done = { node_id: nodeId, command, reason: null, model: placed?.model ?? model, ...byOf(request) };
  try {
    events.record("node_controlled", {
      ...done,
      ...(placed === undefined ? {} : { runtime: placed.runtime }),
      ...(error === undefined ? {} : { error: error.toWire() }),
    });
  } catch (cause) {
    rejections.add("control", MeshError.from(cause));
    error ??= MeshError.from(cause);
  }
  parts.heartbeatNow();
  tell(parts, msg, { error, progress });
}

function tell(
  { bus, nodeId, stance }: ControlParts,
  msg: Msg,
  {
    error,
    done = true,
    progress = null,
  }: { error?: MeshError | undefined; done?: boolean; progress?: ModelProgress | null },
): void {
  if (bus.nc.isClosed()) return;
  const reply: ControlReply = {
    ok: error === undefined,
    node_id: nodeId,
    status: stance.status.status,
    error: error?.toWire() ?? null,
    done,
    progress,
  };
  respond(msg, reply);
}
