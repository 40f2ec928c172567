import { statSync } from "node:fs";
import path from "node:path";
import { AuditQuery } from "../../bus-schemas/index.ts";
import { NO_KEYS, StorageKeys, newStorageKey } from "../../auditor/at-rest/storage-keys.ts";
import { rebuildIndex } from "../../auditor/search/build.ts";
import { GapFinder } from "../../auditor/search/gaps.ts";
import { INDEX_FILE, SearchIndex } from "../../auditor/search/search-index.ts";
import { search } from "../../auditor/search/search.ts";
import { statsOf } from "../../auditor/search/stats.ts";
import type { EntryFiles } from "../../auditor/search/tile-entries.ts";
import { DISK } from "../../auditor/tlog/files.ts";
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
    const signer = parsePrivateKey(generatePrivateKey((unique) => `tiermesh.internal/bench/${unique}`));
    const checkpoint = { origin: signer.name, size: ENTRIES, root: Buffer.alloc(32) };
    const sealing = new StorageKeys([newStorageKey()]);
    const [plain, encrypted] = [dir.path, path.join(dir.path, "encrypted")];
    const log = { tlog: path.join(plain, "tlog"), checkpoint, keys: NO_KEYS };
    const sealedLog = { tlog: path.join(encrypted, "tlog"), checkpoint, keys: sealing };
    const bytes = await writeLog(log, signer);
    await writeLog(sealedLog, signer);
    report.note(
      `${ENTRIES} entries of ${Math.round(bytes / ENTRIES)} bytes on average: a decision and an ending a job`,
    );
    report.add(
      await paired("entries, made anew", {
        "read and parsed": () => parseAll(log),
        indexed: () => rebuildIndex(plain, log),
        "read and parsed, encrypted": () => parseAll(sealedLog),
        "indexed, encrypted": () => rebuildIndex(encrypted, sealedLog),
      }),
    );
    const index = new SearchIndex(path.join(plain, INDEX_FILE));
    const sealedIndex = new SearchIndex(path.join(encrypted, INDEX_FILE), { keys: sealing });
    const ask = (about: object, [of, entries]: [SearchIndex, EntryFiles] = [index, log]) => {
      for (let i = 0; i < 20; i++) search(of, entries, AuditQuery.parse(about));
      return 20;
    };
    const [job, failures] = [{ job_id: jobOf(ENTRIES / 2) }, { node_id: "gpu-7", outcome: "failed", limit: 20 }];
    report.add(
      await paired("questions", {
        "one job": () => ask(job),
        "one job, encrypted": () => ask(job, [sealedIndex, sealedLog]),
        "a node's newest failures": () => ask(failures),
        "a node's newest failures, encrypted": () => ask(failures, [sealedIndex, sealedLog]),
      }),
    );
    for (const [how, of] of Object.entries({ plain: index, encrypted: sealedIndex })) {
      const beganMs = performance.now();
      statsOf(of, {});
      report.note(`stats over all of it, ${how}: ${(performance.now() - beganMs).toFixed(0)} ms`);
    }
    const sizes = [plain, encrypted].map((at) => (statSync(path.join(at, INDEX_FILE)).size / ENTRIES).toFixed(0));
    report.note(`the index takes ${sizes[0]} bytes an entry, encrypted ${sizes[1]}`);
    // Jobs are gone through at the first look and runs, which have to be a minute old, at the second; then only what is new.
    const finder = new GapFinder(index, log);
    const looks = [1, 2, 3].map((minute) => {
      const lookedMs = performance.now();
      const found = finder.find(1_800_000_000_000 + minute * 60_000).length;
      return `${(performance.now() - lookedMs).toFixed(0)} ms (${found} found)`;
    });
    report.note(`looked through for gaps: ${looks.join(", then ")}`);
    index.close();
    sealedIndex.close();
  } finally {
    await dir.remove();
  }
}

const jobOf = (i: number) => `01K9ZQ6V3M8N5T2R7W${String(Math.floor(i / 2)).padStart(8, "0")}`;

async function writeLog(
  { keys, tlog }: EntryFiles & { keys: StorageKeys },
  signer: ReturnType<typeof parsePrivateKey>,
): Promise<number> {
  const writer = await TlogWriter.open(tlog, signer, DISK, keys);
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

function parseAll({ keys, tlog }: EntryFiles): number {
  const reader = new TileReader(tlog, ENTRIES, keys);
  let parsed = 0;
  for (let bundle = 0; parsed < ENTRIES; bundle++)
    for (const bytes of reader.bundle(bundle)) if (JSON.parse(bytes.toString()) !== null) parsed++;
  return parsed;
}
