/** The auditor's writing parts without the bus: segments, signed tree, search thread and scrubber, fed as fast as they take it. */
import path from "node:path";
import { readStorageKeys } from "../../auditor/at-rest/storage-keys.ts";
import { AuditTree } from "../../auditor/audit-tree.ts";
import { eventKey } from "../../auditor/segment.ts";
import { SegmentLog } from "../../auditor/segment-log.ts";
import { SearchDesk } from "../../auditor/search/search-desk.ts";
import { Scrubber } from "../../auditor/tlog/scrub.ts";
import type { AuditEntry } from "../../bus-schemas/index.ts";
import { createLog } from "../../service/log.ts";
import { ALONE } from "../kit/signed-log.ts";
import type { MemorySample } from "./audit-memory.ts";

const folder = process.env["BENCH_FOLDER"] ?? "";
const total = Number(process.env["BENCH_ENTRIES"]);
/** As the recorder takes them, and how often what it took comes under a checkpoint. */
const BATCH = 1024;
/** The search thread may be so far behind; the auditor's is, at most, what the stream gives between two looks. */
const AHEAD = 65_536;
const SAMPLE_EVERY = Math.max(BATCH, Math.floor(total / 40));

const keys = readStorageKeys(process.env, folder);
const segments = await SegmentLog.open(folder, { keys });
await segments.startStream("2026-01-01T00:00:00Z", 0);
const tree = await AuditTree.open(folder, segments, "mesh.bench");
const search = new SearchDesk(folder, createLog("bench", "warn"), keys);
const scrubber = new Scrubber(path.join(folder, "tlog"), keys);
const startMs = performance.now();
let sampledAt = 0;
for (let at = 0; at < total; at += BATCH) {
  const entries = Array.from({ length: Math.min(BATCH, total - at) }, (_, i) => entry(at + i + 1));
  // As the recorder does for each event that comes.
  for (const one of entries) if (segments.index.has(eventKey(one), one.sequence)) throw new Error("came twice");
  await segments.append(entries);
  tree.add(entries);
  await tree.cover(ALONE);
  if (Math.floor(at / 65_536) !== Math.floor((at + BATCH) / 65_536)) scrubber.look(tree.head);
  while (search.state.indexed < at - AHEAD) await new Promise((resolve) => setTimeout(resolve, 20));
  if (at - sampledAt < SAMPLE_EVERY && at + BATCH < total) continue;
  sampledAt = at;
  // What is garbage is not what it holds.
  globalThis.gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  const mb = (bytes: number) => Math.round(bytes / 2 ** 20);
  const sample: MemorySample = {
    entries: at + entries.length,
    seconds: (performance.now() - startMs) / 1000,
    rssMb: mb(rss),
    heapMb: mb(heapUsed),
    externalMb: mb(external),
  };
  process.send?.(sample);
}
await search.close();
await segments.close();
process.disconnect();

function entry(sequence: number): AuditEntry {
  const digits = String(sequence).padStart(12, "0");
  const node = `gpu-${sequence % 200}`;
  return {
    sequence,
    stream_sequence: sequence,
    job_id: `01K9ZQ6V3M8N5J${String(Math.ceil(sequence / 2)).padStart(12, "0")}`,
    id: `01K9ZQ6V3M8N5T${digits}`,
    source: `agent/${node}`,
    type: "node_left",
    time: new Date(1_790_000_000_000 + sequence * 10).toISOString(),
    security_level: null,
    traceparent: null,
    data: { node_id: node, layer: "L1", reason: null },
  };
}
