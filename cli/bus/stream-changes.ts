import type { Msg } from "@nats-io/nats-core";
import { z } from "zod";
import { API_ADVISORIES, MeshError, parseOrThrow, type EventData } from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import type { EventPublisher } from "../../service/events.ts";
import type { Log } from "../../service/log.ts";
import { readBody } from "../../service/messages.ts";

/** What is read of a server's advisory on a call of JetStream's API (NATS: io.nats.jetstream.advisory.v1.api_audit). */
export const ApiAudit = z.object({
  /** The same to whoever hears it: with several keepers the stream stores their events once. */
  id: z.string().regex(/^[A-Za-z0-9]{1,60}$/),
  subject: z.string().max(500),
  client: z.object({ nkey: z.string().optional(), user: z.string().optional(), name: z.string().optional() }),
  /** JSON in a text, both. */
  request: z.string().optional(),
  response: z.string(),
});

const Response = z.looseObject({
  purged: z.number().int().min(0).optional(),
  error: z.object({ description: z.string().optional() }).optional(),
});

/** Calls that change a stream or a consumer, by the words in front of its name. */
const CHANGES =
  /^\$JS\.API\.(STREAM\.(?:CREATE|UPDATE|DELETE|PURGE|MSG\.DELETE|SNAPSHOT|RESTORE|PEER\.REMOVE)|CONSUMER\.(?:DELETE|PAUSE|CREATE|DURABLE\.CREATE))\.([^.]+)(?:\.([^.]+))?/;
/** Name of the auditor's durable consumer (auditor/recorder.ts). */
const AUDITORS_CONSUMER = "auditor";

/** Public keys of those whose business some of it is. */
export interface Owners {
  keeper: string;
  auditor: string;
}

/**
 * Puts on record what is done to the stream of events itself, by whomever, as the broker tells it: no permission hides it, and who
 * is to be watched cannot keep it from being said. The keeper hears it because it is always beside the broker.
 */
export function recordStreamChanges(parts: { bus: Bus; events: EventPublisher; log: Log; owners: Owners }): void {
  const { bus, events, log, owners } = parts;
  bus.listen(API_ADVISORIES, (msg) => {
    const change = readChange(msg, bus.subjects.auditStream, owners);
    if (change === undefined) return;
    const { id, ...data } = change;
    log.warn(data, "the stream of events was changed");
    events.record("stream_changed", data, { id: `advisory-${id}` });
  });
}

type Change = EventData<"stream_changed"> & { id: string };

/** Undefined for a call that changes nothing of the record, and for the auditor's on its own consumer. */
function readChange(msg: Msg, stream: string, owners: Owners): Change | undefined {
  // Almost all calls are about something else: they are not worth parsing.
  if (!Buffer.from(msg.data).includes(stream)) return undefined;
  const { id, subject, client, response } = readBody(msg, ApiAudit);
  const [, action = "", of, consumer] = CHANGES.exec(subject) ?? [];
  if (of !== stream) return undefined;
  const by = client.nkey ?? client.user ?? null;
  if (action.startsWith("CONSUMER.") && (by === owners.auditor || consumer !== AUDITORS_CONSUMER)) return undefined;
  const { purged, error } = readResponse(response);
  return {
    id,
    stream,
    action,
    severity: isMaking(action) && by === owners.keeper ? "info" : "critical",
    by: by?.slice(0, 200) ?? null,
    client: client.name === undefined || client.name === "" ? null : client.name.slice(0, 200),
    purged: purged ?? null,
    refused: error === undefined ? null : (error.description ?? "refused").slice(0, 200),
  };
}

/** What the keeper does to have the stream as it should be. */
function isMaking(action: string): boolean {
  return action === "STREAM.CREATE" || action === "STREAM.UPDATE";
}

function readResponse(text: string): z.infer<typeof Response> {
  try {
    return parseOrThrow(Response, JSON.parse(text) as unknown);
  } catch (cause) {
    throw new MeshError("bad_request", "response: not what JetStream answers", { field: "response", cause });
  }
}
