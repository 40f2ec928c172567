/** Proofs that an entry is in a log, as a text that stands alone: c2sp.org/tlog-proof. Pure. */
import { MeshError } from "../../bus-schemas/index.ts";
import { decodeBase64 } from "./base64.ts";
import { openCheckpoint, type Checkpoint } from "./checkpoint.ts";
import { HASH_BYTES, leafHash } from "./hash.ts";
import type { NoteVerifier } from "./keys.ts";
import { rootByInclusion, same } from "./tree.ts";

/** What a `.tlog-proof` holds. */
export interface TlogProof {
  /** The entry itself, in the format's `extra` line. It is what the proof is checked for, never trusted by itself. */
  entry: Uint8Array;
  /** From 0. */
  index: number;
  /** Audit path, from the leaf's sibling to the root's child. */
  hashes: readonly Uint8Array[];
  /** The signed note, as the log wrote it. */
  checkpoint: string;
}

const HEAD = "c2sp.org/tlog-proof@v1";
/** A tree of 2^53 entries has paths no longer than this. */
const MAX_HASHES = 53;

export function formatProof({ entry, index, hashes, checkpoint }: TlogProof): string {
  const path = hashes.map((hash) => `${base64(hash)}\n`).join("");
  return `${HEAD}\nextra ${base64(entry)}\nindex ${index}\n${path}\n${checkpoint}`;
}

/** @throws MeshError `bad_request` saying which line is not as the format has it. */
export function parseProof(text: string): TlogProof {
  const end = text.indexOf("\n\n");
  const [head, extra = "", index = "", ...path] = text.slice(0, Math.max(end, 0)).split("\n");
  if (head !== HEAD) throw bad(`its first line is not ${HEAD}`);
  const entry = decodeBase64(/^extra (\S+)$/.exec(extra)?.[1] ?? "?");
  if (entry === undefined) throw bad("no line `extra`, in which our receipts hold the entry");
  const digits = /^index (0|[1-9]\d{0,15})$/.exec(index)?.[1];
  if (digits === undefined) throw bad("no line `index`");
  const hashes = path.map((line) => decodeBase64(line));
  if (hashes.length > MAX_HASHES || !hashes.every((hash) => hash?.length === HASH_BYTES))
    throw bad("a line of its path is not a hash");
  return {
    entry,
    index: Number(digits),
    hashes: hashes.filter((hash) => hash !== undefined),
    checkpoint: text.slice(end + 2),
  };
}

/**
 * Checks a proof by the log's key: the checkpoint is signed, and the path leads from the entry to its root.
 * @throws MeshError `bad_request` saying what does not hold.
 */
export function checkProof(proof: TlogProof, key: NoteVerifier): Checkpoint {
  const checkpoint = openCheckpoint(Buffer.from(proof.checkpoint), key);
  const root = rootByInclusion(leafHash(proof.entry), proof.index, checkpoint.size, proof.hashes);
  if (root === undefined || !same(root, checkpoint.root))
    throw new MeshError("bad_request", "the entry is not in the tree of the receipt's checkpoint");
  return checkpoint;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

function bad(why: string): MeshError {
  return new MeshError("bad_request", `not a receipt: ${why}`);
}
