import type { Msg } from "@nats-io/nats-core";
import { MeshError, ReleaseGet, isInbox } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import { makeHeaders, readBody, respond } from "../../service/messages.ts";
import type { Rejections } from "../../service/rejections.ts";
import { ReleaseStream } from "../../service/release-stream.ts";

/** Servers of a cluster share the agents' requests. */
const QUEUE_GROUP = "keeper";
/** Pieces that are read and sent at once, for all agents: 8 MiB. More are told to come again. */
const AT_ONCE = 32;
/** After so long, milliseconds. */
const COME_AGAIN_MS = 200;

/**
 * Hands the pieces of releases out to agents. They ask us, and not JetStream: that answers wherever its asker says, in its own right, so
 * who may ask it anything can have it speak on any subject of the mesh. We answer an inbox only (ADR 0030).
 */
export async function serveReleases({ bus, rejections }: { bus: Bus; rejections?: Rejections }): Promise<void> {
  const stream = await ReleaseStream.open(bus);
  let running = 0;
  const serve = async (msg: Msg) => {
    running++;
    try {
      if (running > AT_ONCE)
        throw new MeshError("all_busy", "many nodes fetch a release now", { retryAfterMs: COME_AGAIN_MS });
      const { sha256, chunk } = readBody(msg, ReleaseGet);
      const bytes = await stream.chunk(sha256, chunk);
      if (!bus.nc.isClosed())
        msg.respond(bytes, { headers: makeHeaders({ "Content-Type": "application/octet-stream" }) });
    } catch (cause) {
      const error = MeshError.from(cause, "bus_unavailable", "the bus cannot read its releases now");
      if (error.code === "bad_request") rejections?.add("release", error);
      if (!bus.nc.isClosed()) respond(msg, { error: error.toWire() });
    } finally {
      running--;
    }
  };
  bus.listen(
    bus.subjects.releaseGets,
    (msg) => {
      if (isInbox(msg.reply ?? "")) void serve(msg);
    },
    QUEUE_GROUP,
  );
}
