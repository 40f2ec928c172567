import {
  ControlRequest,
  MODEL_COMMANDS,
  MeshError,
  isInbox,
  type ControlReply,
  type ModelCommand,
  type ModelProgress,
  type UpgradeState,
} from "../bus-schemas/index.ts";
import type { Msg } from "@nats-io/nats-core";
import type { Bus } from "../service/bus.ts";
import type { EventPublisher } from "../service/events.ts";
import { readBody, respond } from "../service/messages.ts";
import type { Rejections } from "../service/rejections.ts";
import type { Description } from "./description.ts";
import type { GpuHealth } from "./gpu-health/gpu-health.ts";
import type { ModelOrders } from "./model-orders.ts";
import type { RuntimeDesk } from "./runtime-desk.ts";
import type { Stance } from "./stance.ts";
import type { Supervision } from "./supervision/supervision.ts";
import type { RollbackOrder, UpgradeOrder, Upgrader } from "./upgrade/upgrader.ts";

const STATUS_AFTER = { cordon: "cordoned", drain: "draining", suspend: "suspended", resume: "healthy" } as const;
/** While something takes its time its operator hears so often, milliseconds; silence for longer means that we are gone. */
const TELL_EVERY_MS = 1000;

export interface ControlParts {
  bus: Bus;
  nodeId: string;
  stance: Stance;
  desk: Pick<RuntimeDesk, "handBack">;
  orders: Pick<ModelOrders, "place" | "carryOut">;
  supervision: Pick<Supervision, "restart">;
  gpus: Pick<GpuHealth, "declareWell">;
  description: Pick<Description, "change">;
  upgrader: Pick<Upgrader, "state" | "upgrade" | "rollBack">;
  events: EventPublisher;
  rejections: Rejections;
  heartbeatNow: () => void;
  /** Aborts when the agent stops: what is under way is then given up. */
  signal: AbortSignal;
}

type ModelRequest = Extract<ControlRequest, { command: ModelCommand }>;
type RestartRequest = Extract<ControlRequest, { command: "restart-runtime" }>;
type UpgradeRequest = UpgradeOrder | RollbackOrder;
type LongRequest = ModelRequest | RestartRequest | UpgradeRequest;
type QuickRequest = Exclude<ControlRequest, LongRequest | { command: "upgrade-status" }>;

/** Serves an operator's commands to this node: about its stance, models, runtimes, GPUs, version and what it is called. */
export function serveControl(parts: ControlParts): void {
  const { bus, nodeId, rejections } = parts;
  bus.listen(bus.subjects.control(nodeId), (msg) => {
    try {
      // What JetStream delivers where its asker says has a reply subject of its own: that is no operator.
      if (!isInbox(msg.reply ?? "")) throw new MeshError("bad_request", "reply: not an inbox", { field: "reply" });
      const request = readBody(msg, ControlRequest);
      if (isModelRequest(request)) return void carryOut(parts, msg, request, modelOrder(parts, request));
      if (request.command === "upgrade-status") return tell(parts, msg, { upgrade: parts.upgrader.state });
      if (request.command === "upgrade" || request.command === "rollback")
        return void carryOut(parts, msg, request, upgradeOrder(parts, request));
      if (request.command === "restart-runtime")
        return void carryOut(parts, msg, request, restartOrder(parts, request));
      obey(parts, request);
      tell(parts, msg, {});
    } catch (cause) {
      const error = MeshError.from(cause);
      rejections.add("control", error);
      tell(parts, msg, { error });
    }
  });
}

function byOf({ by }: QuickRequest | LongRequest): { by?: string } {
  return by === undefined ? {} : { by };
}

function isModelRequest(request: ControlRequest): request is ModelRequest {
  return Object.hasOwn(MODEL_COMMANDS, request.command);
}

/** What is done at once. @throws MeshError what is wrong with it */
function obey({ description, desk, events, gpus, heartbeatNow, nodeId, stance }: ControlParts, request: QuickRequest) {
  const { command } = request;
  const reason = ("reason" in request ? request.reason : undefined) ?? null;
  if (command === "describe") description.change(request);
  else if (command === "gpu-well") gpus.declareWell(request.gpu, reason);
  else stance.set(STATUS_AFTER[command], reason);
  events.record("node_controlled", { node_id: nodeId, command, reason, ...byOf(request) });
  heartbeatNow();
  // The machine is wanted now: what runs goes on elsewhere. Cordoned and draining nodes end what they have.
  if (command === "suspend") desk.handBack(stance.closedBecause ?? "the node is suspended");
}

/** Something that takes its time. */
interface LongOrder {
  /** For the record, as far as it is known; null = not for the record. */
  facts(): { reason: string | null; model?: string; runtime?: string } | null;
  /** Told in each reply. */
  upgrade?: () => UpgradeState;
  carryOut(onProgress: (progress: ModelProgress) => void): Promise<void>;
}

function modelOrder({ orders, signal }: ControlParts, { command, model, runtime }: ModelRequest): LongOrder {
  let facts: NonNullable<ReturnType<LongOrder["facts"]>> = { reason: null, model };
  return {
    facts: () => facts,
    async carryOut(onProgress) {
      const placed = orders.place(MODEL_COMMANDS[command], model, runtime);
      facts = { reason: null, model: placed.model, runtime: placed.runtime };
      await orders.carryOut(placed, onProgress, signal);
    },
  };
}

function restartOrder({ supervision }: ControlParts, { runtime, reason: said }: RestartRequest): LongOrder {
  const reason = said ?? null;
  return {
    facts: () => ({ reason, runtime }),
    async carryOut(onProgress) {
      const done = supervision.restart(runtime, reason);
      onProgress({ phase: "starting", done_bytes: null, total_bytes: null });
      await done;
    },
  };
}

/** Whether it could be done, and having the file ready, changes nothing that anybody would look for in the record. */
function upgradeOrder({ upgrader }: ControlParts, request: UpgradeRequest): LongOrder {
  const changes = request.command === "rollback" || request.mode === "go";
  const reason = request.command === "rollback" ? null : `to ${request.version}`;
  return {
    facts: () => (changes ? { reason } : null),
    upgrade: () => upgrader.state,
    carryOut: (onProgress) =>
      request.command === "rollback" ? upgrader.rollBack(request) : upgrader.upgrade(request, onProgress),
  };
}

/** Never throws. Its operator hears of it at least once a second until the end, and the record has its end. */
async function carryOut(parts: ControlParts, msg: Msg, request: LongRequest, order: LongOrder): Promise<void> {
  const { events, nodeId, rejections } = parts;
  let progress: ModelProgress | null = null;
  let error: MeshError | undefined;
  const tellProgress = () => tell(parts, msg, { progress, done: false, upgrade: order.upgrade?.() });
  const timer = setInterval(tellProgress, TELL_EVERY_MS);
  try {
    await order.carryOut((next) => {
      const first = progress?.phase !== next.phase;
      progress = next;
      if (first) tellProgress();
    });
  } catch (cause) {
    error = MeshError.from(cause);
  } finally {
    clearInterval(timer);
  }
  try {
    const failed = error === undefined ? {} : { error: error.toWire() };
    const { command } = request;
    const facts = order.facts();
    if (facts !== null)
      events.record("node_controlled", { node_id: nodeId, command, ...facts, ...byOf(request), ...failed });
  } catch (cause) {
    rejections.add("control", MeshError.from(cause));
    error ??= MeshError.from(cause);
  }
  parts.heartbeatNow();
  tell(parts, msg, { error, progress, upgrade: order.upgrade?.() });
}

function tell(
  { bus, nodeId, stance }: ControlParts,
  msg: Msg,
  {
    error,
    done = true,
    progress = null,
    upgrade = null,
  }: {
    error?: MeshError | undefined;
    done?: boolean;
    progress?: ModelProgress | null;
    upgrade?: UpgradeState | null | undefined;
  },
): void {
  if (bus.nc.isClosed()) return;
  const reply: ControlReply = {
    ok: error === undefined,
    node_id: nodeId,
    status: stance.status.status,
    error: error?.toWire() ?? null,
    done,
    progress,
    upgrade,
  };
  respond(msg, reply);
}
