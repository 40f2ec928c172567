import { ControlRequest, MeshError, isInbox, type ControlReply } from "../bus-schemas/index.ts";
import type { Bus } from "../service/bus.ts";
import type { EventPublisher } from "../service/events.ts";
import { readBody, respond } from "../service/messages.ts";
import type { Rejections } from "../service/rejections.ts";
import type { Stance } from "./stance.ts";

const STATUS_AFTER = { cordon: "cordoned", drain: "draining", suspend: "suspended", resume: "healthy" } as const;

/** Serves an operator's cordon, drain and resume of this node. */
export function serveControl(parts: {
  bus: Bus;
  nodeId: string;
  stance: Stance;
  events: EventPublisher;
  rejections: Rejections;
  heartbeatNow: () => void;
}): void {
  const { bus, nodeId, stance, events, rejections, heartbeatNow } = parts;
  bus.listen(bus.subjects.control(nodeId), (msg) => {
    let reply: ControlReply;
    try {
      // What JetStream delivers where its asker says has a reply subject of its own: that is no operator.
      if (!isInbox(msg.reply ?? "")) throw new MeshError("bad_request", "reply: not an inbox", { field: "reply" });
      const request = readBody(msg, ControlRequest);
      const reason = request.command === "resume" ? null : (request.reason ?? null);
      stance.set(STATUS_AFTER[request.command], reason);
      events.record("node_controlled", { node_id: nodeId, command: request.command, reason });
      heartbeatNow();
      reply = { ok: true, node_id: nodeId, status: stance.status.status, error: null };
    } catch (cause) {
      const error = MeshError.from(cause);
      rejections.add("control", error);
      reply = { ok: false, node_id: nodeId, status: stance.status.status, error: error.toWire() };
    }
    respond(msg, reply);
  });
}
