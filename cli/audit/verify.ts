import { checkProof, parseProof } from "../../auditor/tlog/proof.ts";
import { verifyLog } from "../../auditor/tlog/verify.ts";
import { MeshError } from "../../bus-schemas/index.ts";
import { EXIT } from "../command.ts";
import { harmless, print, printJson } from "../format/terminal.ts";
import { keyFor, logPlace, readGiven } from "./log-folder.ts";
import { verifyProof } from "./prove.ts";

export interface VerifyFlags {
  offline?: string;
  key?: string;
  checkpoint: string[];
  receipt?: string;
  proof?: string;
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

function verifyFolder({ offline, key: keyFile, checkpoint: kept, json }: VerifyFlags): void {
  const { folder, key } = logPlace(offline, keyFile);
  const { checkpoint, problems, uncovered } = verifyLog(folder, key, { kept: kept.map(readGiven) });
  const ok = problems.length === 0;
  if (!ok) process.exitCode = EXIT.failed;
  const root = checkpoint === null ? null : Buffer.from(checkpoint.root).toString("base64");
  if (json === true)
    return printJson({ ok, folder, origin: key.name, size: checkpoint?.size ?? null, root, uncovered, problems });
  print(`${folder}: ${harmless(key.name)}`);
  for (const { file, what } of problems.slice(0, MOST_PROBLEMS)) print(`  ${harmless(`${file}: ${what}`)}`);
  if (problems.length > MOST_PROBLEMS) print(`  … and ${problems.length - MOST_PROBLEMS} more`);
  if (uncovered > 0)
    print(`  ${uncovered} files beyond the checkpoint, which the next one will cover, were not checked`);
  if (checkpoint === null) print("no checkpoint that can be trusted: nothing else was checked");
  else if (ok) print(`${checkpoint.size} entries: the signature, every tile and every entry hold; root ${root}`);
  else print(`${problems.length} ${problems.length === 1 ? "problem" : "problems"} in ${checkpoint.size} entries`);
}

/** @throws MeshError `bad_request` saying what about the receipt does not hold. */
function verifyReceipt(file: string, { key: keyFile, json }: VerifyFlags): void {
  const proof = parseProof(readGiven(file).toString());
  const { origin, size } = checkProof(proof, keyFor(undefined, keyFile));
  const text = Buffer.from(proof.entry).toString();
  if (json === true) return printJson({ ok: true, origin, size, index: proof.index, entry: parsed(text) });
  print(`${file}: entry ${proof.index} of ${size} in ${harmless(origin)}; the signature and the path hold`);
  print(harmless(text));
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new MeshError("bad_request", "the receipt's entry is in the log, but is not JSON", { cause });
  }
}
