import type { Msg, Subscription } from "@nats-io/nats-core";
import { acceptsAsIs } from "../bus-schemas/accepts.ts";
import { HEADERS, MeshError, NodeRecord, parseHeartbeatSubject } from "../bus-schemas/index.ts";
import type { Bus } from "./bus.ts";
import { header, readBody } from "./messages.ts";
import { learnFromPeer } from "./structures-exchange.ts";

/** Largest heartbeat that is read, bytes. */
const MAX_HEARTBEAT_BYTES = 256 * 1024;

/** A record as our own agents send it; one that leaves something out is the schema's to read. */
const isWholeRecord = acceptsAsIs(NodeRecord);

/**
 * A heartbeat, checked: a well-formed record whose node and layer are those of its subject, because the broker's
 * permissions guard the subject, not the body.
 * @throws MeshError naming the field.
 */
export function readHeartbeat(msg: Msg): NodeRecord {
  if (msg.data.length > MAX_HEARTBEAT_BYTES) throw new MeshError("payload_too_large", "the heartbeat is too large");
  const record = readBody(msg, NodeRecord, isWholeRecord);
  const said = parseHeartbeatSubject(msg.subject);
  if (record.node_id !== said?.node)
    throw new MeshError("forbidden", "node_id: not the node of the subject", { field: "node_id" });
  if (record.layer !== said.layer)
    throw new MeshError("forbidden", "layer: not the layer of the subject", { field: "layer" });
  return record;
}

/** Calls `onRecord` for each good heartbeat of the cell and `onRejected` for each bad one; neither may throw. */
export function subscribeHeartbeats(
  bus: Bus,
  onRecord: (record: NodeRecord) => void,
  onRejected: (error: MeshError) => void,
): Subscription {
  const take = (msg: Msg, asked: boolean) => {
    let record: NodeRecord;
    try {
      record = readHeartbeat(msg);
    } catch (cause) {
      const rejection = MeshError.from(cause);
      const unknown = rejection.code === "codec_unknown" && !asked;
      if (!unknown) return onRejected(rejection);
      // A node of another build. Its table is there within milliseconds, and who asks only once (tiermesh nodes) hears no second one.
      void learnFromPeer(bus, header(msg, HEADERS.contentType)).then(() => take(msg, true));
      return;
    }
    onRecord(record);
  };
  return bus.listen(bus.subjects.heartbeats, (msg) => take(msg, false));
}
