import { z } from "zod";
import { AuditStats, NodeId, Outcome, parseOrThrow, type ControlReply } from "../../bus-schemas/index.ts";
import type { MeshClient } from "../../client/index.ts";
import { pause } from "../../service/loop.ts";
import { readBody } from "../../service/messages.ts";
import { askAuditor } from "../audit-client.ts";
import { askNode } from "../models/order.ts";
import type { Fleet } from "./fleet.ts";
import type { JobCounts } from "./health-gate.ts";

/** How jobs fared before is looked up for this long, milliseconds. */
const BEFORE_MS = 3_600_000;
const AUDITOR_LIMIT_MS = 3000;

/** What counts of the event of a job's ending. */
const Ended = z.object({ status: Outcome, node_id: NodeId.nullable() });

/** Endings that a sick node brings about. */
const FAILURES: readonly z.infer<typeof Outcome>[] = ["failed", "expired"];

/** The fleet of a real mesh. */
export async function meshFleet(client: MeshClient): Promise<Fleet> {
  const jobs = await followJobs(client);
  client.nodes.watchConnections();
  return {
    nodes: () => client.nodes.list(),
    order: (node, request, onProgress = () => undefined): Promise<ControlReply> =>
      askNode(client, node, request, onProgress),
    jobs,
    pause,
    nowMs: () => performance.now(),
  };
}

/** Whether a subject is one that an upgrade can do without: with separate duties an administrator hears of no jobs. */
export function isAboutJobs(subject: string): boolean {
  return subject.includes(".event.job_ended.");
}

async function followJobs({ bus }: MeshClient): Promise<Fleet["jobs"]> {
  const all: JobCounts = { ended: 0, failed: 0 };
  const on = new Map<string, JobCounts>();
  let refused = false;
  bus.nc.subscribe(bus.subjects.eventsOf("job_ended", "*" as never), {
    callback: (error, msg) => {
      if (error !== null) return void (refused = true);
      try {
        const { node_id: node, status } = readBody(msg, Ended);
        const failed = FAILURES.includes(status) ? 1 : 0;
        const counts = on.get(node ?? "") ?? { ended: 0, failed: 0 };
        on.set(node ?? "", { ended: counts.ended + 1, failed: counts.failed + failed });
        all.ended++;
        all.failed += failed;
      } catch {
        // Of another version, or none of ours: it is not counted.
      }
    },
  });
  await bus.nc.flush();
  return () => (refused ? undefined : { all: { ...all }, on: new Map(on) });
}

/** How jobs fared in the last hour, by the auditor's log; none when nobody tells. */
export async function jobsBefore(client: MeshClient): Promise<JobCounts> {
  try {
    const question = { type: "job_ended", since_unix_ms: Date.now() - BEFORE_MS };
    const said = await askAuditor(client, client.bus.subjects.auditStats, question, AUDITOR_LIMIT_MS);
    const { endings } = parseOrThrow(AuditStats, said, "internal");
    const count = (names: readonly string[]) => names.reduce((sum, name) => sum + (endings[name] ?? 0), 0);
    return { ended: count(Object.keys(endings)), failed: count(FAILURES) };
  } catch {
    return { ended: 0, failed: 0 };
  }
}
