/** Checkpoints by c2sp.org/tlog-checkpoint: a signed note that says how many entries a log has, and its root. Pure. */
import { MeshError } from "../../bus-schemas/index.ts";
import { decodeBase64 } from "./base64.ts";
import { cosignatureTimeS } from "./cosignature.ts";
import { HASH_BYTES } from "./hash.ts";
import type { NoteSigner, NoteVerifier } from "./keys.ts";
import { openNote, signNote, signaturesBy } from "./note.ts";

/** A tree as a whole. */
export interface TreeHead {
  /** Number of entries. */
  size: number;
  root: Uint8Array;
}

export interface Checkpoint extends TreeHead {
  /** Which log it is; the same as the name of the log's key. */
  origin: string;
}

/** The checkpoint of the signer's own log, as a signed note. @param also who signs it besides */
export function signCheckpoint({ size, root }: TreeHead, signer: NoteSigner, also: readonly NoteSigner[] = []): string {
  return signNote(`${signer.name}\n${size}\n${Buffer.from(root).toString("base64")}\n`, [signer, ...also]);
}

/** What a witness has said to a checkpoint. */
export interface Cosigned {
  witness: string;
  /** `wrong`: there is a line by this key, and it does not hold. */
  state: "cosigned" | "absent" | "wrong";
  /** When, by the witness's clock, seconds since 1970; null unless it cosigned. */
  timeS: number | null;
}

/** Which of the witnesses have cosigned a note. It must have been opened by its log's key. */
export function cosignersOf(note: Uint8Array, witnesses: readonly NoteVerifier[]): Cosigned[] {
  return witnesses.map((key) => {
    const signatures = signaturesBy(note, key);
    const good = signatures.find(({ holds }) => holds);
    const timeS = good === undefined ? null : (cosignatureTimeS(good.signature) ?? null);
    return { witness: key.name, state: good ? "cosigned" : signatures.length > 0 ? "wrong" : "absent", timeS };
  });
}

/**
 * A checkpoint of the log whose key this is.
 * @throws MeshError `bad_request`: not signed by that key, of another log, or not in the format.
 */
export function openCheckpoint(note: Uint8Array, key: NoteVerifier): Checkpoint {
  if (key.kind !== "signature") throw new MeshError("bad_request", `${key.name} is the key of a witness, not of a log`);
  const [origin = "", size = "", base64 = "", ...extensions] = openNote(note, [key]).text.split("\n");
  const root = decodeBase64(base64);
  const readable =
    /^(?:0|[1-9]\d{0,15})$/.test(size) &&
    Number.isSafeInteger(Number(size)) &&
    root?.length === HASH_BYTES &&
    extensions.pop() === "" &&
    !extensions.includes("");
  if (!readable) throw new MeshError("bad_request", "a note that is not a checkpoint: origin, size, root");
  if (origin !== key.name) throw new MeshError("bad_request", "a checkpoint of another log than the key's");
  return { origin, size: Number(size), root };
}
