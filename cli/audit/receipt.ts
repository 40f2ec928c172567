import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { openCheckpoint } from "../../auditor/tlog/checkpoint.ts";
import { readMinimumIndex } from "../../auditor/tlog/minimum-index.ts";
import { checkProof, formatProof } from "../../auditor/tlog/proof.ts";
import { TileReader } from "../../auditor/tlog/reader.ts";
import { TILE_WIDTH } from "../../auditor/tlog/tiles.ts";
import { inclusionProof } from "../../auditor/tlog/tree.ts";
import { readCheckpoint } from "../../auditor/tlog/verify.ts";
import { WITNESSED_FILE } from "../../auditor/tlog/writer.ts";
import { MeshError, type AuditEntry, type EventType } from "../../bus-schemas/index.ts";
import { print, printJson } from "../format/terminal.ts";
import { logPlace } from "./log-folder.ts";

export interface ReceiptFlags {
  offline?: string;
  key?: string;
  out?: string;
  json?: boolean;
}

/** What ends a job; a durable one may be given up. */
const ENDINGS: ReadonlySet<EventType> = new Set(["job_ended", "job_dead"]);

interface Found {
  index: number;
  bytes: Buffer;
  entry: AuditEntry;
}

/** @throws MeshError `not_found` while no checkpoint covers an ending of the job; `bad_request` when the log does not verify. */
export function receipt(jobId: string, { offline, key: keyFile, out, json }: ReceiptFlags): void {
  const { folder, key } = logPlace(offline, keyFile);
  const newest = readCheckpoint(folder);
  const { size: newestSize } = openCheckpoint(newest, key);
  const found = endingOf(jobId, new TileReader(folder, newestSize), {
    minimum: readMinimumIndex(folder),
    size: newestSize,
  });
  // A checkpoint that witnesses have cosigned proves more, if it is good and not too old.
  const witnessed = attempt(() => {
    const cosigned = readFileSync(path.join(folder, WITNESSED_FILE));
    return openCheckpoint(cosigned, key).size > (found?.index ?? Infinity) ? cosigned : undefined;
  });
  const note = witnessed ?? newest;
  const { size } = openCheckpoint(note, key);
  const reader = new TileReader(folder, size);
  if (found === undefined)
    throw new MeshError(
      "not_found",
      `no ending of job ${jobId} in the ${size} entries of ${folder}; a job that has just ended is there within two seconds`,
    );
  const { index, bytes, entry } = found;
  const hashes = inclusionProof(index, size, reader.subtrees);
  const proof = { entry: bytes, index, hashes, checkpoint: note.toString() };
  checkProof(proof, key);
  const file = out ?? `${jobId}.tlog-proof`;
  write(file, formatProof(proof));
  const { type, time } = entry;
  if (json === true) printJson({ job_id: jobId, file, origin: key.name, size, index, type, time });
  else print(`${file}: ${type} of ${time} is entry ${index} of ${size}`);
}

/** The newest ending of a job. */
function endingOf(
  jobId: string,
  reader: TileReader,
  { minimum, size }: { minimum: number; size: number },
): Found | undefined {
  const needle = `"job_id":"${jobId}"`;
  const first = minimum / TILE_WIDTH;
  for (let bundle = Math.ceil(size / TILE_WIDTH) - 1; bundle >= first; bundle--) {
    for (const [i, bytes] of [...reader.bundle(bundle).entries()].reverse()) {
      if (!bytes.includes(needle)) continue;
      const entry = JSON.parse(bytes.toString()) as AuditEntry;
      if (entry.job_id === jobId && ENDINGS.has(entry.type)) return { index: bundle * TILE_WIDTH + i, bytes, entry };
    }
  }
  return undefined;
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (cause) {
    throw new MeshError("bad_request", `${file}: cannot be written`, { cause });
  }
}
