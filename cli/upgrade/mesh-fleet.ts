import type { Msg } from "@nats-io/nats-core";
import { z } from "zod";
import {
  AuditStats,
  NodeId,
  Outcome,
  WireError,
  parseOrThrow,
  type ControlReply,
  type ErrorCode,
  type EventType,
} from "../../bus-schemas/index.ts";
import type { MeshClient } from "../../client/index.ts";
import { pause } from "../../service/loop.ts";
import { readBody } from "../../service/messages.ts";
import { askAuditor } from "../audit-client.ts";
import { askNode } from "../models/order.ts";
import type { Fleet } from "./fleet.ts";
import type { JobCounts, JobsBefore } from "./health-gate.ts";

/** How jobs fared before is looked up for this long, milliseconds. */
const BEFORE_MS = 3_600_000;
const AUDITOR_LIMIT_MS = 3000;

/** What counts of the event of a job's ending. */
const Ended = z.object({ status: Outcome, node_id: NodeId.nullable(), error: WireError.nullable().default(null) });
/** And of a job that went on elsewhere: routers hide a sick node from callers, so this is where it shows. */
const Redispatched = z.object({ from_node_id: NodeId, error: WireError });

/** What a node did to a job; that it was busy, or did not want it, is no fault. */
const FAULTS: readonly ErrorCode[] = [
  "runtime_failed",
  "node_lost",
  "stream_interrupted",
  "internal",
  "deadline_exceeded",
];

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
  return /\.event\.job_(ended|redispatched)\./.test(subject);
}

async function followJobs({ bus }: MeshClient): Promise<Fleet["jobs"]> {
  const all: JobCounts = { ended: 0, failed: 0 };
  const on = new Map<string, JobCounts>();
  let refused = false;
  const add = (node: string | null, failed: boolean) => {
    const counts = on.get(node ?? "") ?? { ended: 0, failed: 0 };
    on.set(node ?? "", { ended: counts.ended + 1, failed: counts.failed + Number(failed) });
  };
  const hear = (type: EventType, count: (msg: Msg) => void) =>
    bus.nc.subscribe(bus.subjects.eventsOf(type, "*" as never), {
      callback: (error, msg) => {
        if (error !== null) return void (refused = true);
        try {
          count(msg);
        } catch {
          // Of another version, or none of ours: it is not counted.
        }
      },
    });
  hear("job_ended", (msg) => {
    const { error, node_id: node, status } = readBody(msg, Ended);
    const failed = status === "failed" || status === "expired";
    add(node, failed);
    all.ended++;
    // A caller who asked for what cannot be is refused as well, but would be again.
    if (failed || (status === "refused" && error?.retryable === true)) all.failed++;
  });
  hear("job_redispatched", (msg) => {
    const { error, from_node_id: node } = readBody(msg, Redispatched);
    if (FAULTS.includes(error.code)) add(node, true);
  });
  await bus.nc.flush();
  return () => (refused ? undefined : { all: { ...all }, on: new Map(on) });
}

/** How jobs, and nodes with them, fared in the last hour, by the auditor's log; none when nobody tells. */
export async function jobsBefore(client: MeshClient): Promise<JobsBefore> {
  const none = { ended: 0, failed: 0 };
  try {
    const question = { since_unix_ms: Date.now() - BEFORE_MS };
    const said = await askAuditor(client, client.bus.subjects.auditStats, question, AUDITOR_LIMIT_MS);
    const { by_type: types, endings } = parseOrThrow(AuditStats, said, "internal");
    const ended = types["job_ended"] ?? 0;
    const failed = (endings["failed"] ?? 0) + (endings["expired"] ?? 0);
    const again = types["job_redispatched"] ?? 0;
    return {
      jobs: { ended, failed: failed + (endings["refused"] ?? 0) },
      onNodes: { ended: ended + again, failed: failed + again },
    };
  } catch {
    return { jobs: none, onNodes: none };
  }
}
