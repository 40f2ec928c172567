/**
 * A program that has the stream store events until it is told to stop, and writes down what the stream said it has:
 * `node recorder.ts <json of RecorderPlan>`. It stands on NATS's own publish and acknowledgement, not on our publisher, so
 * that an event counts as acknowledged by the broker's word alone.
 */
import { appendFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { jetstream } from "@nats-io/jetstream";
import { CE_TYPE_PREFIX, HEADERS, eventSource, type EventData } from "../../bus-schemas/index.ts";
import { connectBus, type BusAddress } from "../../service/bus.ts";
import { newId } from "../../service/ids.ts";
import { createLog } from "../../service/log.ts";
import { headersFor } from "../../service/messages.ts";

export interface RecorderPlan {
  /** With the key of a router. */
  access: BusAddress;
  /** Where the notes go. */
  folder: string;
  /** In the events' source: `router/<name>`. */
  name: string;
  /** Events a second. */
  perSecond: number;
}

/** An event that the stream has acknowledged, in how many tries, and when. */
export interface RecorderNote {
  id: string;
  tries: number;
  atMs: number;
}

/** How long an acknowledgement is awaited before the event is sent again, milliseconds. */
const ACK_WITHIN_MS = 1000;
/** An event that was sent so often and never acknowledged may be stored or not: nobody was promised anything. */
const MOST_TRIES = 60;
/** Events sent in one go. */
const AT_ONCE = 10;
const TYPE = "message_rejected";

const { access, folder, name, perSecond } = JSON.parse(process.argv[2] ?? "") as RecorderPlan;
const bus = await connectBus(name, access, createLog(name, "silent"));
const stream = jetstream(bus.nc, { timeout: ACK_WITHIN_MS });
const stop = new AbortController();
process.on("SIGTERM", () => stop.abort());
process.stdout.write(`${JSON.stringify({ ready: true })}\n`);

const open = new Set<Promise<void>>();
while (!stop.signal.aborted) {
  for (let i = 0; i < AT_ONCE; i++) {
    const stored = record().finally(() => open.delete(stored));
    open.add(stored);
  }
  await pause((AT_ONCE * 1000) / perSecond, undefined, { signal: stop.signal }).catch(() => undefined);
}
await Promise.all(open);
await bus.drain();

async function record(): Promise<void> {
  const id = newId();
  const subject = bus.subjects.event(TYPE, "none", "router", name);
  const data: EventData<typeof TYPE> = {
    process: "router",
    subject_kind: "submit",
    code: "bad_request",
    field: null,
    count: 1,
  };
  const headers = headersFor("json", {
    [HEADERS.msgId]: id,
    [HEADERS.ceSpecVersion]: "1.0",
    [HEADERS.ceId]: id,
    [HEADERS.ceSource]: eventSource({ process: "router", name }),
    [HEADERS.ceType]: CE_TYPE_PREFIX + TYPE,
    [HEADERS.ceTime]: new Date().toISOString(),
  });
  for (let tries = 1; tries <= MOST_TRIES; tries++) {
    try {
      await stream.publish(subject, JSON.stringify(data), { headers });
      const note: RecorderNote = { id, tries, atMs: Date.now() };
      appendFileSync(path.join(folder, `${name}.ndjson`), `${JSON.stringify(note)}\n`);
      return;
    } catch {
      await pause(200);
    }
  }
}
