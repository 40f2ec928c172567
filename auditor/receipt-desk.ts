import { readFileSync } from "node:fs";
import path from "node:path";
import type { Msg } from "@nats-io/nats-core";
import {
  ENDING_TYPES,
  AuditQuery,
  MeshError,
  ReceiptRequest,
  type AuditEntry,
  type ReceiptReply,
} from "../bus-schemas/index.ts";
import { pause } from "../service/loop.ts";
import { readBody, respond } from "../service/messages.ts";
import type { Rejections } from "../service/rejections.ts";
import type { StorageKeys } from "./at-rest/storage-keys.ts";
import { TLOG_FOLDER, VERIFIER_KEY_FILE } from "./log-key.ts";
import { receiptOf } from "./proofs/receipt.ts";
import type { AuditSources } from "./query.ts";
import { parseVerifierKey } from "./tlog/keys.ts";

/** How often it is looked whether a checkpoint has come, milliseconds. */
const LOOK_EVERY_MS = 50;

/** What a receipt is made from. */
export interface ReceiptSources extends AuditSources {
  /** The auditor's folder. */
  folder: string;
  /** Of a log that is encrypted. */
  keys: StorageKeys;
  /** Entries that the newest checkpoint covers; null while the log cannot be used. */
  treeSize: number | null;
}

/**
 * Answers one request on `audit.receipt`: waits for the ending and its checkpoint as long as the caller says.
 * @returns whether a receipt was given out
 */
export async function serveReceipt(msg: Msg, sources: () => ReceiptSources, rejections: Rejections): Promise<boolean> {
  try {
    const { job_id, wait_ms } = readBody(msg, ReceiptRequest);
    respond(msg, await receiptFor(job_id, performance.now() + wait_ms, sources));
    return true;
  } catch (cause) {
    const error = MeshError.from(cause);
    if (error.code === "bad_request") rejections.add("audit_receipt", error);
    respond(msg, { error: error.toWire() } satisfies ReceiptReply);
    return false;
  }
}

async function receiptFor(jobId: string, untilMs: number, sources: () => ReceiptSources): Promise<ReceiptReply> {
  for (;;) {
    const now = sources();
    const sequence = await endingOf(jobId, now);
    if (sequence > 0 && sequence <= (now.treeSize ?? 0)) return answer(jobId, sequence, now);
    if (performance.now() >= untilMs) {
      const missing = sequence > 0 ? "no checkpoint covers the ending yet" : "no ending of it is in the log";
      throw new MeshError("not_found", `job ${jobId}: ${missing}; ask again in a second or two if it has just ended`);
    }
    await pause(LOOK_EVERY_MS);
  }
}

/** Position of a job's newest ending; 0 for none. */
async function endingOf(jobId: string, { index, search }: ReceiptSources): Promise<number> {
  const fresh = ENDING_TYPES.map(
    (type) => index?.select(AuditQuery.parse({ job_id: jobId, type, limit: 1 }))[0]?.sequence ?? 0,
  );
  const newest = Math.max(...fresh);
  if (newest > 0 || search.state.indexed === 0 || (index?.first ?? 1) <= 1) return newest;
  return search.ask({ kind: "ending", jobId });
}

function answer(jobId: string, sequence: number, { folder, keys }: ReceiptSources): ReceiptReply {
  const key = parseVerifierKey(readFileSync(path.join(folder, VERIFIER_KEY_FILE), "utf8"));
  const { text, size, entry } = receiptOf(path.join(folder, TLOG_FOLDER), key, sequence - 1, keys);
  const { type, time } = JSON.parse(entry.toString()) as AuditEntry;
  return { job_id: jobId, receipt: text, origin: key.name, index: sequence - 1, size, type, time };
}
