import path from "node:path";
import { AuditQuery } from "../../bus-schemas/index.ts";
import { rebuildIndex } from "../../auditor/search/build.ts";
import { GapFinder } from "../../auditor/search/gaps.ts";
import { INDEX_FILE, SearchIndex } from "../../auditor/search/search-index.ts";
import { search } from "../../auditor/search/search.ts";
import { statsOf } from "../../auditor/search/stats.ts";
import { generatePrivateKey, parsePrivateKey } from "../../auditor/tlog/keys.ts";
import { TileReader } from "../../auditor/tlog/reader.ts";
import { TlogWriter } from "../../auditor/tlog/writer.ts";
import { treeEntry } from "../../auditor/tree-entry.ts";
import { decided, ended } from "../kit/recorded-jobs.ts";
import { tempDir } from "../kit/temp-dir.ts";
import type { Bench, Report } from "./bench.ts";
import { paired } from "./harness.ts";

const ENTRIES = 200_000;

/** How fast the search index is made anew from tiles, against reading and parsing them alone, and how fast it answers. */
export const auditIndex: Bench = { summary: "the audit log's search index: made anew from the tiles, and asked", run };

async function run(report: Report): Promise<void> {
  const dir = tempDir("tiermesh-bench-index-");
  try {
    const tlog = path.join(dir.path, "tlog");
    const signer = parsePrivateKey(generatePrivateKey((unique) => `tiermesh.internal/bench/${unique}`));
    const bytes = await writeLog(tlog, signer);
    const log = { tlog, checkpoint: { origin: signer.name, size: ENTRIES, root: Buffer.alloc(32) } };
    report.note(
      `${ENTRIES} entries of ${Math.round(bytes / ENTRIES)} bytes on average: a decision and an ending a job`,
    );
    report.add(
      await paired("entries, made anew", {
        "read and parsed": () => parseAll(tlog),
        indexed: () => rebuildIndex(dir.path, log),
      }),
    );
    const index = new SearchIndex(path.join(dir.path, INDEX_FILE));
    const ask = (about: object) => {
      for (let i = 0; i < 20; i++) search(index, tlog, AuditQuery.parse(about));
      return 20;
    };
    report.add(
      await paired("questions", {
        "one job": () => ask({ job_id: jobOf(ENTRIES / 2) }),
        "a node's newest failures": () => ask({ node_id: "gpu-7", outcome: "failed", limit: 20 }),
      }),
    );
    const beganMs = performance.now();
    statsOf(index, {});
    report.note(`stats over all of it: ${(performance.now() - beganMs).toFixed(0)} ms`);
    // Jobs are gone through at the first look and runs, which have to be a minute old, at the second; then only what is new.
    const finder = new GapFinder(index, tlog);
    const looks = [1, 2, 3].map((minute) => {
      const lookedMs = performance.now();
      const found = finder.find(1_800_000_000_000 + minute * 60_000).length;
      return `${(performance.now() - lookedMs).toFixed(0)} ms (${found} found)`;
    });
    report.note(`looked through for gaps: ${looks.join(", then ")}`);
    index.close();
  } finally {
    await dir.remove();
  }
}

const jobOf = (i: number) => `01K9ZQ6V3M8N5T2R7W${String(Math.floor(i / 2)).padStart(8, "0")}`;

async function writeLog(folder: string, signer: ReturnType<typeof parsePrivateKey>): Promise<number> {
  const writer = await TlogWriter.open(folder, signer);
  let bytes = 0;
  for (let first = 1; first <= ENTRIES; first += 8192) {
    const batch = Array.from({ length: Math.min(8192, ENTRIES - first + 1) }, (_, i) => entry(first + i));
    bytes += batch.reduce((sum, one) => sum + one.length, 0);
    await writer.append(batch);
  }
  return bytes;
}

function entry(sequence: number): Buffer {
  const jobId = jobOf(sequence - 1);
  const node = `gpu-${sequence % 40}`;
  const isEnd = sequence % 2 === 0;
  return treeEntry({
    sequence,
    stream_sequence: sequence,
    job_id: jobId,
    id: `01K9ZQ6V3M8N5T2R7X${String(sequence).padStart(8, "0")}`,
    source: isEnd ? `agent/${node}` : "router/router-1",
    type: isEnd ? "job_ended" : "job_decided",
    time: new Date(1_790_000_000_000 + sequence).toISOString(),
    security_level: "P2",
    traceparent: null,
    data: isEnd
      ? ended(jobId, node, "L1", sequence % 100 === 0 ? "failed" : "finished")
      : { ...decided(jobId, node, "L1"), deadline_unix_ms: 1_790_000_060_000 + sequence },
  });
}

function parseAll(tlog: string): number {
  const reader = new TileReader(tlog, ENTRIES);
  let parsed = 0;
  for (let bundle = 0; parsed < ENTRIES; bundle++)
    for (const bytes of reader.bundle(bundle)) if (JSON.parse(bytes.toString()) !== null) parsed++;
  return parsed;
}
