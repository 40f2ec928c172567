import { readFileSync } from "node:fs";
import path from "node:path";
import type { Agree } from "../../auditor/audit-tree.ts";
import { parseVerifierKey } from "../../auditor/tlog/keys.ts";
import { verifyLog, type Verified } from "../../auditor/tlog/verify.ts";

/** Of an auditor without another one. */
export const ALONE: Agree = () => Promise.resolve();

/** Checks the signed log of an auditor's folder by the key that lies beside it. */
export function verifyTree(folder: string): Verified {
  const key = parseVerifierKey(readFileSync(path.join(folder, "log-key.pub"), "utf8"));
  return verifyLog(path.join(folder, "tlog"), key);
}
