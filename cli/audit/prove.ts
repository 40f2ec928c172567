import { createHash } from "node:crypto";
import { VIOLATIONS, type NegativeProof } from "../../auditor/proofs/no-p0-egress.ts";
import { checkNegativeProof, proveNoP0Egress } from "../../auditor/proofs/prove.ts";
import { MeshError } from "../../bus-schemas/index.ts";
import { EXIT } from "../command.ts";
import { harmless, note, print, printJson } from "../format/terminal.ts";
import { withClient } from "../with-client.ts";
import { noteExport } from "./export-note.ts";
import { logPlace, readGiven, writeGiven } from "./log-folder.ts";

export interface ProveFlags {
  from?: number;
  to?: number;
  offline?: string;
  key?: string;
  out?: string;
  json?: boolean;
}

/** Violations that are printed for people; the file has all. */
const MOST_SHOWN = 20;

/** Writes the proof that no P0 job went to a cloud; ends with 1 when the log shows one. */
export async function proveNoEgress({ from = 0, to, offline, key: keyFile, out, json }: ProveFlags): Promise<void> {
  const toMs = to ?? Date.now();
  if (toMs <= from) throw new MeshError("bad_request", "--to: must be after --from", { field: "to" });
  const { folder, key, keys } = logPlace(offline, keyFile);
  const proof = proveNoP0Egress(folder, key, { fromMs: from, toMs }, keys);
  const file = out ?? `no-p0-egress-${proof.from.slice(0, 10)}-${proof.to.slice(0, 10)}.json`;
  const text = `${JSON.stringify(proof, null, 2)}\n`;
  writeGiven(file, text);
  if (offline === undefined) await onRecord(proof, text);
  if (!proof.holds) process.exitCode = EXIT.failed;
  if (json === true) return printJson({ file, origin: key.name, ...summary(proof) });
  print(`${file}: ${told(proof)}`);
}

/** Of the log of a mesh that runs here. A copy's is nobody's to know. */
async function onRecord({ from, to, counts }: NegativeProof, text: string): Promise<void> {
  const about = { kind: "proof", what: `no-p0-egress from ${from} to ${to}`, count: counts.entries } as const;
  const sha256 = createHash("sha256").update(text).digest("hex");
  try {
    await withClient((client) => noteExport(client, { ...about, sha256 }));
  } catch (error) {
    note(`this proof is not on record: ${MeshError.from(error).message}`);
  }
}

/** Computes a proof again from the tiles; ends with 1 when the file is not what they say, or what they say is not the claim. */
export function verifyProof(
  file: string,
  { offline, key: keyFile, json }: Pick<ProveFlags, "offline" | "key" | "json">,
): void {
  const { folder, key, keys } = logPlace(offline, keyFile);
  const { proof, differs } = checkNegativeProof(folder, key, readGiven(file), keys);
  const ok = differs.length === 0 && proof.holds;
  if (!ok) process.exitCode = EXIT.failed;
  if (json === true) return printJson({ ok, file, origin: key.name, differs, ...summary(proof) });
  if (differs.length > 0) print(`${file}: not what the tiles say: ${differs.join(", ")} differ`);
  else print(`${file}: the same comes from the tiles of ${harmless(key.name)}: ${told(proof)}`);
}

function summary({ holds, from, to, size, first, counts, violations }: NegativeProof) {
  return { holds, from, to, size, first, counts, violations };
}

function told({ holds, from, to, size, first, counts, violations }: NegativeProof): string {
  const range = `from ${from} to ${to}, in entries ${first} to ${size} of the log`;
  const lines = [
    holds ? `no P0 job went to a cloud ${range}` : `NOT proven: ${violations.length} entries contradict it, ${range}`,
    `  ${counts.entries} entries read, ${counts.in_range} in that time: ${counts.p0} about where P0 jobs went, ${counts.cloud} about jobs in a cloud`,
  ];
  for (const { index, type, job_id, node_id, why } of violations.slice(0, MOST_SHOWN))
    lines.push(
      `  entry ${index}, ${type} of job ${job_id}${node_id === null ? "" : ` on ${node_id}`}: ${VIOLATIONS[why]}`,
    );
  if (violations.length > MOST_SHOWN) lines.push(`  … and ${violations.length - MOST_SHOWN} more, in the file`);
  if (first > 0) lines.push(`  entries before ${first} were pruned: nothing is said of them`);
  if (counts.rejected > 0)
    lines.push(`  ${counts.rejected} messages that were no events are in the log without their content`);
  return harmless(lines.join("\n"));
}
