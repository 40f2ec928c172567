/** Receipts: proofs that one entry is in the log, as C2SP's tlog-proof has them. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import { openCheckpoint } from "../tlog/checkpoint.ts";
import { NO_KEYS } from "../at-rest/storage-keys.ts";
import type { NoteVerifier } from "../tlog/keys.ts";
import { checkProof, formatProof } from "../tlog/proof.ts";
import { TileReader } from "../tlog/reader.ts";
import { TILE_WIDTH } from "../tlog/tiles.ts";
import { inclusionProof } from "../tlog/tree.ts";
import { readCheckpoint } from "../tlog/verify.ts";
import { WITNESSED_FILE } from "../tlog/writer.ts";

export interface Receipt {
  /** The `.tlog-proof`. */
  text: string;
  /** Entries under its checkpoint. */
  size: number;
  /** The entry, as the tree has it. */
  entry: Buffer;
}

/**
 * The receipt of an entry, under the newest checkpoint of a log or, if one covers it, the newest that witnesses cosigned, which
 * proves more; it was checked.
 * @param index from 0
 * @param keys of an encrypted log
 * @throws MeshError `not_found` when no checkpoint covers it yet, `bad_request` when what comes out does not verify
 */
export function receiptOf(folder: string, key: NoteVerifier, index: number, keys = NO_KEYS): Receipt {
  const note = checkpointFor(folder, key, index);
  const { size } = openCheckpoint(note, key);
  if (index >= size) throw new MeshError("not_found", `no checkpoint covers entry ${index} yet`);
  const reader = new TileReader(folder, size, keys);
  const entry = reader.bundle(Math.floor(index / TILE_WIDTH))[index % TILE_WIDTH];
  if (entry === undefined) throw new MeshError("not_found", `entry ${index} is not in its bundle`);
  const proof = { entry, index, hashes: inclusionProof(index, size, reader.subtrees), checkpoint: note.toString() };
  checkProof(proof, key);
  return { text: formatProof(proof), size, entry };
}

function checkpointFor(folder: string, key: NoteVerifier, index: number): Buffer {
  try {
    const witnessed = readFileSync(path.join(folder, WITNESSED_FILE));
    if (openCheckpoint(witnessed, key).size > index) return witnessed;
  } catch {
    // There is none, or it is no good: the newest will do.
  }
  return readCheckpoint(folder);
}
