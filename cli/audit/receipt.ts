import { receiptOf } from "../../auditor/proofs/receipt.ts";
import { openCheckpoint } from "../../auditor/tlog/checkpoint.ts";
import { readMinimumIndex } from "../../auditor/tlog/minimum-index.ts";
import { checkProof, parseProof } from "../../auditor/tlog/proof.ts";
import { TileReader } from "../../auditor/tlog/reader.ts";
import { TILE_WIDTH } from "../../auditor/tlog/tiles.ts";
import { readCheckpoint } from "../../auditor/tlog/verify.ts";
import {
  ENDING_TYPES,
  MeshError,
  type AuditEntry,
  type AuditReceipt,
  type EventType,
} from "../../bus-schemas/index.ts";
import { note, print, printJson } from "../format/terminal.ts";
import { withClient } from "../with-client.ts";
import { keyFor, logPlace, writeGiven } from "./log-folder.ts";

export interface ReceiptFlags {
  offline?: string;
  key?: string;
  out?: string;
  json?: boolean;
}

const ENDINGS: ReadonlySet<EventType> = new Set(ENDING_TYPES);

/**
 * Writes the receipt of a job's ending, from the auditor of the mesh or from a folder.
 * @throws MeshError `not_found` while no checkpoint covers an ending of the job; `bad_request` when the receipt does not verify
 */
export async function receipt(jobId: string, { offline, key: keyFile, out, json }: ReceiptFlags): Promise<void> {
  const found = offline === undefined ? await fromMesh(jobId, keyFile) : fromFolder(jobId, offline, keyFile);
  const { receipt: text, origin, index, size, type, time } = found;
  const file = out ?? `${jobId}.tlog-proof`;
  writeGiven(file, text);
  if (json === true) printJson({ job_id: jobId, file, origin, size, index, type, time });
  else print(`${file}: ${type} of ${time} is entry ${index} of ${size}`);
}

async function fromMesh(jobId: string, keyFile: string | undefined): Promise<AuditReceipt> {
  const found = await withClient((client) => client.receipt(jobId));
  if (keyFile === undefined)
    note("not checked: name the log's verifier key with --key, or check it with `tiermesh audit verify --receipt`");
  else checkProof(parseProof(found.receipt), keyFor(undefined, keyFile));
  return found;
}

function fromFolder(jobId: string, offline: string, keyFile: string | undefined): AuditReceipt {
  const { folder, key, keys } = logPlace(offline, keyFile);
  const { size } = openCheckpoint(readCheckpoint(folder), key);
  const index = endingOf(jobId, new TileReader(folder, size, keys), { minimum: readMinimumIndex(folder), size });
  if (index === undefined)
    throw new MeshError(
      "not_found",
      `no ending of job ${jobId} in the ${size} entries of ${folder}; a job that has just ended is there within two seconds`,
    );
  const made = receiptOf(folder, key, index, keys);
  const { type, time } = JSON.parse(made.entry.toString()) as AuditEntry;
  return { job_id: jobId, receipt: made.text, origin: key.name, index, size: made.size, type, time };
}

/** Index of the newest ending of a job. */
function endingOf(
  jobId: string,
  reader: TileReader,
  { minimum, size }: { minimum: number; size: number },
): number | undefined {
  const needle = `"job_id":"${jobId}"`;
  const first = minimum / TILE_WIDTH;
  for (let bundle = Math.ceil(size / TILE_WIDTH) - 1; bundle >= first; bundle--) {
    for (const [i, bytes] of [...reader.bundle(bundle).entries()].reverse()) {
      if (!bytes.includes(needle)) continue;
      const entry = JSON.parse(bytes.toString()) as AuditEntry;
      if (entry.job_id === jobId && ENDINGS.has(entry.type)) return bundle * TILE_WIDTH + i;
    }
  }
  return undefined;
}
