import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { CANARY } from "../../bus-schemas/index.ts";
import { connectBus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import type { ClusterMesh } from "../kit/cluster-mesh.ts";
import type { RuntimeNote } from "../kit/fake-runtime.ts";
import { eventually } from "../kit/mesh.ts";
import type { History, LogLine, StoredEvent } from "./checker.ts";
import { readNotes, toJobs, type ClientNote, type FaultNote } from "./history.ts";
import type { RecorderNote } from "./recorder.ts";

/** Messages of the stream that are asked for at once. */
const AT_ONCE = 64;
/** Of the queue that all jobs go to (deploy/routing.yaml). */
const QUEUE_CAP = 50;
/** The auditor has taken what the stream has within this time, milliseconds; it may have been away for a while. */
const CAUGHT_UP_LIMIT_MS = 60_000;

/** Reads everything that was written down, once the auditors have what the stream has and nothing more comes. */
export async function collect(
  mesh: ClusterMesh,
  notes: { clients: string; recorders: string },
  faults: FaultNote[],
): Promise<Omit<History, "signed">> {
  const bus = await connectBus("checker", mesh.access("operator"), createLog("checker", "silent"));
  try {
    const manager = await jetstreamManager(bus.nc, { checkAPI: false, timeout: 5000 });
    let [last, events] = [0, 0];
    const log = await eventually(
      "the auditor to have what the stream has",
      async () => {
        const canaries = `${bus.subjects.prefix}.event.${CANARY}.>`;
        const { state } = await manager.streams.info(bus.subjects.auditStream, { subjects_filter: canaries });
        const { ack_floor: floor } = await manager.consumers.info(bus.subjects.auditStream, "auditor");
        const lines = readLog(path.join(mesh.home("auditor-1"), "audit"));
        const count = state.messages - Object.values(state.subjects ?? {}).reduce((sum, of) => sum + of, 0);
        // Twice the same: events still come from spools.
        const here = count === events && floor.stream_seq === state.last_seq;
        const settled = here && mesh.names("auditor").every((auditor) => signedSize(mesh, auditor) === lines.length);
        [last, events] = [state.last_seq, count];
        if (!settled) await new Promise((resolve) => setTimeout(resolve, 1500));
        return settled && lines;
      },
      CAUGHT_UP_LIMIT_MS,
    );
    const stream: StoredEvent[] = [];
    for (let from = 1; from <= last; from += AT_ONCE) {
      const sequences = Array.from({ length: Math.min(AT_ONCE, last - from + 1) }, (_, i) => from + i);
      const messages = await Promise.all(
        sequences.map((seq) => manager.streams.getMessage(bus.subjects.auditStream, { seq })),
      );
      for (const message of messages) {
        if (message === null || message.header.get("ce-type").endsWith(`.${CANARY}`)) continue;
        stream.push({
          streamSequence: message.seq,
          storedMs: message.time.getTime(),
          id: message.header.get("ce-id"),
          type: message.header.get("ce-type").split(".").at(-1) ?? "",
          traceparent: message.header.get("traceparent") || null,
          data: message.json(),
        });
      }
    }
    const runs = readNotes<RuntimeNote & { file: string }>(path.join(mesh.folder, "notes"));
    const jobs = toJobs(readNotes<ClientNote>(notes.clients));
    const acknowledged = readNotes<RecorderNote>(notes.recorders).map(({ id }) => id);
    return { jobs, faults, stream, log, acknowledged, runs, slots: mesh.slots, queueCap: QUEUE_CAP };
  } finally {
    await bus.nc.close();
  }
}

/** Entries under an auditor's newest checkpoint. */
function signedSize(mesh: ClusterMesh, auditor: string): number {
  const checkpoint = path.join(mesh.home(auditor), "audit", "tlog", "checkpoint");
  return Number(readFileSync(checkpoint, "utf8").split("\n")[1]);
}

function readLog(folder: string): LogLine[] {
  return readdirSync(folder)
    .toSorted()
    .filter((name) => name.endsWith(".jsonl"))
    .flatMap((name) => readFileSync(path.join(folder, name), "utf8").split("\n"))
    .filter((line) => line.startsWith('{"sequence"') && line.endsWith("}"))
    .map((line) => JSON.parse(line) as LogLine);
}
