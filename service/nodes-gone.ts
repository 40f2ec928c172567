import type { Subscription } from "@nats-io/nats-core";
import { MeshError, NodeGone, lastToken } from "../bus-schemas/index.ts";
import type { Bus } from "./bus.ts";
import { readBody } from "./messages.ts";

/**
 * Calls `onGone` for each node whose connection the broker has lost, as its keeper says, and `onRejected` for each message
 * that is none. On a bus without a keeper nothing comes.
 */
export function subscribeNodesGone(
  bus: Bus,
  onGone: (nodeId: string) => void,
  onRejected: (error: MeshError) => void,
): Subscription {
  return bus.listen(bus.subjects.nodesGone, (msg) => {
    let nodeId: string;
    try {
      nodeId = readBody(msg, NodeGone).node_id;
      if (nodeId !== lastToken(msg.subject))
        throw new MeshError("forbidden", "node_id: not the node of the subject", { field: "node_id" });
    } catch (error) {
      return onRejected(MeshError.from(error));
    }
    onGone(nodeId);
  });
}
