import { AckPolicy, DeliverPolicy, JetStreamApiError, jetstreamManager } from "@nats-io/jetstream";
import { MeshError, subjectPatterns, type EventClass } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";

/** The auditor's own consumer (auditor/recorder.ts). */
const TAKEN = "auditor";
/** An event that is not acknowledged in this time is sent again, nanoseconds. */
const ACK_WAIT_NS = 30 * 1_000_000_000;
/** A reader that acknowledges nothing gets no more than so many. */
const MAX_UNACKED = 1000;

/**
 * Makes the durable consumer of a reader of events; it keeps its place for as long as the stream keeps the events.
 * @throws MeshError `conflict` for a name that another consumer has, `bad_request` when filters overlap
 */
export async function makeReader(
  bus: Bus,
  name: string,
  reads: readonly string[],
  from: "start" | "now",
): Promise<void> {
  if (name === TAKEN) throw new MeshError("conflict", `${name} is the auditor's own`, { field: "name" });
  const manager = await jetstreamManager(bus.nc, { checkAPI: false });
  try {
    await manager.consumers.add(bus.subjects.auditStream, {
      durable_name: name,
      description: "tiermesh audit subscribe",
      ack_policy: AckPolicy.Explicit,
      ack_wait: ACK_WAIT_NS,
      max_ack_pending: MAX_UNACKED,
      deliver_policy: from === "start" ? DeliverPolicy.All : DeliverPolicy.New,
      filter_subjects: reads.map((filter) => subjectOf(bus, filter)),
    });
  } catch (cause) {
    if (!(cause instanceof JetStreamApiError)) throw cause;
    throw new MeshError("bad_request", `the stream takes no such consumer: ${cause.message}`, {
      field: "reads",
      cause,
    });
  }
}

/** Nothing happens when there is none. */
export async function removeReader(bus: Bus, name: string): Promise<void> {
  const manager = await jetstreamManager(bus.nc, { checkAPI: false });
  await manager.consumers.delete(bus.subjects.auditStream, name).catch((error: unknown) => {
    if (!(error instanceof JetStreamApiError)) throw error;
  });
}

function subjectOf({ subjects }: Bus, filter: string): string {
  const [type = "*", dataClass = "*"] = filter.split(".");
  const [, cell] = subjects.prefix.split(".");
  return subjectPatterns(cell).eventsOf(type, dataClass as EventClass);
}
