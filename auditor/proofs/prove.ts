/** Negative proofs of a log's folder: made, and made again by whoever checks one. */
import { MeshError, parseOrThrow, type LogEntry } from "../../bus-schemas/index.ts";
import { NO_KEYS } from "../at-rest/storage-keys.ts";
import { entriesBehind, type EntryFiles } from "../search/tile-entries.ts";
import { openCheckpoint } from "../tlog/checkpoint.ts";
import type { NoteVerifier } from "../tlog/keys.ts";
import { TileReader } from "../tlog/reader.ts";
import { readCheckpoint, verifyLog, type VerifyOptions } from "../tlog/verify.ts";
import { NegativeProof, examine, type ProofRange } from "./no-p0-egress.ts";

/**
 * The proof for a range of times, under the newest checkpoint of the folder, whose tiles are all checked first.
 * @throws MeshError `conflict` when the log itself does not verify; `bad_request` when it cannot be read
 */
export function proveNoP0Egress(folder: string, key: NoteVerifier, range: ProofRange, keys = NO_KEYS): NegativeProof {
  const note = readCheckpoint(folder);
  sound(folder, key, { kept: [], keys });
  return examineFolder({ tlog: folder, keys }, note.toString(), key, range);
}

/**
 * Computes a proof again from the tiles.
 * @returns what in the file is not what the tiles say; empty when all of it is
 * @throws MeshError `bad_request` for a file that is no proof, or whose checkpoint is not of this log; `conflict` when the log does not verify
 */
export function checkNegativeProof(
  folder: string,
  key: NoteVerifier,
  file: Buffer,
  keys = NO_KEYS,
): { proof: NegativeProof; differs: string[] } {
  const proof = parseProof(file);
  const { size } = openCheckpoint(Buffer.from(proof.checkpoint), key);
  // The log may have grown since: it must still begin with what the proof's checkpoint was signed for.
  sound(folder, key, { kept: [Buffer.from(proof.checkpoint)], keys });
  if (size !== proof.size) return { proof, differs: ["size"] };
  const range = { fromMs: Date.parse(proof.from), toMs: Date.parse(proof.to) };
  const again = examineFolder({ tlog: folder, keys }, proof.checkpoint, key, range);
  if (again.first > proof.first)
    throw new MeshError(
      "conflict",
      `this copy begins with entry ${again.first}; the proof was made from entry ${proof.first} on`,
    );
  const fields = Object.keys(again) as (keyof NegativeProof)[];
  return { proof, differs: fields.filter((field) => JSON.stringify(again[field]) !== JSON.stringify(proof[field])) };
}

function sound(folder: string, key: NoteVerifier, given: Pick<VerifyOptions, "kept" | "keys">): void {
  const { problems } = verifyLog(folder, key, given);
  const [first] = problems;
  if (first === undefined) return;
  const what = `${first.file}: ${first.what}${problems.length > 1 ? `, and ${problems.length - 1} more` : ""}`;
  throw new MeshError(
    "conflict",
    `the log does not verify, so it proves nothing: ${what}; see \`tiermesh audit verify\``,
  );
}

function examineFolder(log: EntryFiles, checkpoint: string, key: NoteVerifier, range: ProofRange): NegativeProof {
  const { size } = openCheckpoint(Buffer.from(checkpoint), key);
  const entries = entriesOf(log, size);
  const head = entries.next();
  const first = head.done === true ? size : head.value.sequence - 1;
  return examine(withHead(head, entries), range, { first, size, checkpoint });
}

function* withHead(head: IteratorResult<LogEntry, void>, rest: Generator<LogEntry, void>): Generator<LogEntry, void> {
  if (head.done === true) return;
  yield head.value;
  yield* rest;
}

function* entriesOf({ keys, tlog }: EntryFiles, size: number): Generator<LogEntry, void> {
  for (const bundle of entriesBehind(new TileReader(tlog, size, keys), size, 0))
    for (const { entry } of bundle) yield entry;
}

function parseProof(file: Buffer): NegativeProof {
  let json: unknown;
  try {
    json = JSON.parse(file.toString());
  } catch (cause) {
    throw new MeshError("bad_request", "not a proof: no JSON", { cause });
  }
  return parseOrThrow(NegativeProof, json);
}
