import { cosignersOf, type Cosigned } from "../../auditor/tlog/checkpoint.ts";
import type { NoteVerifier } from "../../auditor/tlog/keys.ts";
import { checkProof, parseProof } from "../../auditor/tlog/proof.ts";
import { readCheckpoint, verifyLog } from "../../auditor/tlog/verify.ts";
import { MeshError, type AuditEntry, type EventData } from "../../bus-schemas/index.ts";
import { EXIT } from "../command.ts";
import { harmless, print, printJson } from "../format/terminal.ts";
import { keyFor, logPlace, readGiven, readKey } from "./log-folder.ts";
import { verifyProof } from "./prove.ts";

export interface VerifyFlags {
  offline?: string;
  key?: string;
  checkpoint: string[];
  receipt?: string;
  proof?: string;
  /** Files with verifier keys of witnesses. */
  witness?: string[];
  /** Index of the entry with which a copy begins on purpose (`audit export --from`). */
  begins?: number;
  /** File with the verifier key of the log's ML-DSA-44 signature. */
  mldsa?: string;
  /** So many of them must have cosigned; all if not said. */
  require?: number;
  json?: boolean;
}

/** Problems that are printed for people; JSON has all. */
const MOST_PROBLEMS = 50;

/** Ends with 1 when anything does not hold. */
export function verify(flags: VerifyFlags): void {
  if (flags.proof !== undefined) verifyProof(flags.proof, flags);
  else if (flags.receipt === undefined) verifyFolder(flags);
  else verifyReceipt(flags.receipt, flags);
}

function verifyFolder(flags: VerifyFlags): void {
  const { checkpoint: kept, json, key: keyFile, offline } = flags;
  const { folder, key, keys } = logPlace(offline, keyFile);
  const witnesses = witnessKeys(flags);
  const checked = verifyLog(folder, key, {
    kept: kept.map(readGiven),
    prunedUpTo: (entry) => Math.max(prunedUpTo(entry) ?? 0, flags.begins ?? 0),
    witnesses,
    keys,
  });
  const { checkpoint, minimum, problems, uncovered, witnessed } = checked;
  const missing = lacking(witnessed?.witnesses ?? [], witnesses.length, flags.require);
  if (missing !== undefined) problems.push({ file: "checkpoint", what: missing });
  const mldsa =
    flags.mldsa === undefined || checkpoint === null ? undefined : mldsaState(readCheckpoint(folder), flags.mldsa);
  if (mldsa !== undefined && mldsa !== "cosigned") problems.push({ file: "checkpoint", what: mldsaProblem(mldsa) });
  const ok = problems.length === 0;
  if (!ok) process.exitCode = EXIT.failed;
  const root = checkpoint === null ? null : Buffer.from(checkpoint.root).toString("base64");
  if (json === true)
    return printJson({
      ok,
      folder,
      origin: key.name,
      size: checkpoint?.size ?? null,
      root,
      minimum_index: minimum,
      uncovered,
      witnessed,
      ...(mldsa === undefined ? {} : { mldsa }),
      problems,
    });
  print(`${folder}: ${harmless(key.name)}`);
  for (const { file, what } of problems.slice(0, MOST_PROBLEMS)) print(`  ${harmless(`${file}: ${what}`)}`);
  if (problems.length > MOST_PROBLEMS) print(`  … and ${problems.length - MOST_PROBLEMS} more`);
  if (uncovered > 0)
    print(`  ${uncovered} files beyond the checkpoint, which the next one will cover, were not checked`);
  if (checkpoint === null) return print("no checkpoint that can be trusted: nothing else was checked");
  if (ok)
    print(
      `${checkpoint.size} entries: the signature${mldsa === undefined ? "" : ", that by ML-DSA-44"}, every tile and every entry hold; root ${root}`,
    );
  else print(`${problems.length} ${problems.length === 1 ? "problem" : "problems"} in ${checkpoint.size} entries`);
  if (minimum > 0)
    print(`the log can be read from entry ${minimum} on; those before were pruned, and still count in its root`);
  if (witnessed !== null) print(cosignedLine(witnessed.witnesses, `the first ${witnessed.size} entries`));
}

/** Whether a checkpoint is signed by the log's second key. @throws MeshError `bad_config` for a file that holds another kind of key */
function mldsaState(note: Buffer, file: string): Cosigned["state"] {
  const key = readKey(file);
  if (key.kind !== "cosignature") throw new MeshError("bad_config", `${file}: not the log's key of ML-DSA-44`);
  return cosignersOf(note, [key])[0]?.state ?? "absent";
}

function mldsaProblem(state: Cosigned["state"]): string {
  return state === "wrong" ? "its ML-DSA-44 signature is wrong" : "it has no ML-DSA-44 signature by that key";
}

/** What an auditor's own entry says of pruning (event `audit_pruned`). */
export function prunedUpTo(entry: Uint8Array): number | undefined {
  const bytes = Buffer.from(entry.buffer, entry.byteOffset, entry.length);
  if (!bytes.includes('"type":"audit_pruned"')) return undefined;
  const { data, source, type } = JSON.parse(bytes.toString()) as Partial<AuditEntry>;
  if (type !== "audit_pruned" || source?.startsWith("auditor/") !== true) return undefined;
  return (data as EventData<"audit_pruned">).minimum_index;
}

/** @throws MeshError `bad_config` naming the file that is no witness's key, or that more are required than were named. */
function witnessKeys({ require: wanted, witness: files = [] }: VerifyFlags): NoteVerifier[] {
  if (wanted !== undefined && wanted > files.length)
    throw new MeshError("bad_config", `--require ${wanted}, but ${files.length} witnesses were named with --witness`);
  return files.map((file) => {
    const key = readKey(file);
    if (key.kind === "cosignature") return key;
    throw new MeshError("bad_config", `${file}: the key of a log, not of a witness`);
  });
}

/** What is missing of the cosignatures that were asked for. */
function lacking(cosigned: readonly Cosigned[], named: number, wanted = named): string | undefined {
  const count = cosigned.filter(({ state }) => state === "cosigned").length;
  return count >= wanted ? undefined : `cosigned by ${count} of the ${named} witnesses named, ${wanted} are required`;
}

function cosignedLine(witnesses: readonly Cosigned[], what: string): string {
  const each = witnesses.map(({ state, timeS, witness }) =>
    timeS === null ? `${witness}: ${state}` : `${witness}: ${new Date(timeS * 1000).toISOString()}`,
  );
  const count = witnesses.filter(({ state }) => state === "cosigned").length;
  return harmless(`${count} of ${witnesses.length} witnesses have cosigned ${what} (${each.join(", ")})`);
}

/** @throws MeshError `bad_request` saying what about the receipt does not hold. */
function verifyReceipt(file: string, flags: VerifyFlags): void {
  const { json, key: keyFile } = flags;
  const proof = parseProof(readGiven(file).toString());
  const { origin, size } = checkProof(proof, keyFor(undefined, keyFile));
  const keys = witnessKeys(flags);
  const witnesses = cosignersOf(Buffer.from(proof.checkpoint), keys);
  const missing = lacking(witnesses, keys.length, flags.require);
  if (missing !== undefined) throw new MeshError("bad_request", `the receipt's checkpoint is ${missing}`);
  const mldsa = flags.mldsa === undefined ? "cosigned" : mldsaState(Buffer.from(proof.checkpoint), flags.mldsa);
  if (mldsa !== "cosigned") throw new MeshError("bad_request", `the receipt's checkpoint: ${mldsaProblem(mldsa)}`);
  const text = Buffer.from(proof.entry).toString();
  if (json === true) return printJson({ ok: true, origin, size, index: proof.index, witnesses, entry: parsed(text) });
  print(`${file}: entry ${proof.index} of ${size} in ${harmless(origin)}; the signature and the path hold`);
  if (witnesses.length > 0) print(cosignedLine(witnesses, "its checkpoint"));
  print(harmless(text));
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new MeshError("bad_request", "the receipt's entry is in the log, but is not JSON", { cause });
  }
}
