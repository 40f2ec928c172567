import { AuditTree } from "../../auditor/audit-tree.ts";
import { SegmentLog, type SegmentLogOptions } from "../../auditor/segment-log.ts";
import type { AuditEntry, DataClass, EventData, EventType } from "../../bus-schemas/index.ts";
import { ALONE } from "./signed-log.ts";

/** A signed log in a folder, written entry by entry as the auditor does, without a bus. */
export interface RecordedLog {
  segments: SegmentLog;
  tree: AuditTree;
  /** Appends an event and returns its entry; `cover` puts it under a checkpoint. */
  record<T extends EventType>(type: T, data: EventData<T>, about?: About): Promise<AuditEntry>;
  cover(): Promise<void>;
  close(): Promise<void>;
}

export interface About {
  source?: string;
  dataClass?: DataClass;
  /** Epoch milliseconds. */
  atMs?: number;
}

export const BEGAN_MS = Date.UTC(2026, 10, 26, 8);

export async function startLog(folder: string, options: SegmentLogOptions = {}): Promise<RecordedLog> {
  const segments = await SegmentLog.open(folder, options);
  if (segments.streamCreated === undefined) await segments.startStream("2026-01-01T00:00:00Z", 0);
  const tree = await AuditTree.open(folder, segments, "mesh.main").catch(async (error: unknown) => {
    await segments.close();
    throw error;
  });
  return {
    segments,
    tree,
    record: async (type, data, { source = "router/r1", dataClass, atMs } = {}) => {
      const sequence = segments.sequence + 1;
      const jobId = (data as { job_id?: string }).job_id ?? null;
      const entry: AuditEntry = {
        sequence,
        stream_sequence: sequence,
        job_id: jobId,
        id: `id-${sequence}`,
        source,
        type,
        time: new Date(atMs ?? BEGAN_MS + sequence * 1000).toISOString(),
        security_level: dataClass ?? (jobId === null ? null : "P2"),
        traceparent: null,
        data,
      };
      await segments.append([entry]);
      tree.add([entry]);
      return entry;
    },
    cover: () => tree.cover(ALONE),
    close: () => segments.close(),
  };
}
