import { MagicOrder, MeshError, isInNetwork, isInbox, type MagicReply } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import type { Log } from "../../service/log.ts";
import { readBody, respond } from "../../service/messages.ts";
import type { Rejections } from "../../service/rejections.ts";
import type { sendMagicPacket } from "./magic-packet.ts";
import { ownNetworks } from "./this-network.ts";

/** The same wake again within this time is not sent another packet, milliseconds. */
const REPEAT_MS = 60_000;
/** Wakes from here within that time, at most: whoever speaks for a router must not flood a network from here. */
const MAX_AT_ONCE = 32;

export interface WakeNeighbourParts {
  bus: Bus;
  nodeId: string;
  rejections: Pick<Rejections, "add">;
  log: Log;
  /** Monotonic. */
  nowMs: () => number;
  networks?: typeof ownNetworks;
  send?: typeof sendMagicPacket;
}

/** Serves routers' orders to wake a machine beside this one: only into networks that this machine is in, and once. */
export function serveWakeNeighbour(parts: WakeNeighbourParts): void {
  const { bus, nodeId, rejections } = parts;
  /** When each wake was sent. */
  const sent = new Map<string, number>();
  bus.listen(bus.subjects.magic(nodeId), (msg) => {
    void answer().catch((cause: unknown) => {
      const error = MeshError.from(cause);
      rejections.add("magic", error);
      respond(msg, { ok: false, node_id: nodeId, packets: 0, error: error.toWire() } satisfies MagicReply);
    });

    async function answer(): Promise<void> {
      // What JetStream delivers where its asker says has a reply subject of its own: that is no router.
      if (!isInbox(msg.reply ?? "")) throw new MeshError("bad_request", "reply: not an inbox", { field: "reply" });
      const order = readBody(msg, MagicOrder);
      respond(msg, {
        ok: true,
        node_id: nodeId,
        packets: await wake(parts, sent, order),
        error: null,
      } satisfies MagicReply);
    }
  });
}

/** Loaded only where it is needed: most agents never wake anybody, and UDP takes memory. */
const sendWhenLoaded: typeof sendMagicPacket = async (...args) => {
  const { sendMagicPacket } = await import("./magic-packet.ts");
  return sendMagicPacket(...args);
};

/** @returns datagrams that were sent */
async function wake(parts: WakeNeighbourParts, sent: Map<string, number>, order: MagicOrder): Promise<number> {
  const { log, networks = ownNetworks, nowMs, send = sendWhenLoaded } = parts;
  const { address, mac, network, node_id: sleeper, wake_id: id } = order;
  const through = networks().find((own) => own.network === network);
  if (through === undefined)
    throw new MeshError("conflict", "network: this machine is not in it", { field: "network" });
  if (address !== null && !isInNetwork(address, network))
    throw new MeshError("bad_request", "address: not of that network", { field: "address" });
  for (const [former, atMs] of sent) if (nowMs() - atMs >= REPEAT_MS) sent.delete(former);
  if (sent.has(id)) return 0;
  if (sent.size >= MAX_AT_ONCE)
    throw new MeshError("rate_limited", "too many machines are woken from here at once", { retryAfterMs: REPEAT_MS });
  sent.set(id, nowMs());
  try {
    const packets = await send({ mac, through, address });
    log.info({ node: sleeper, packets }, "a magic packet was sent for a router");
    return packets;
  } catch (error) {
    sent.delete(id);
    throw error;
  }
}
