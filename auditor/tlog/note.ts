/** Signed notes by c2sp.org/signed-note: a text, an empty line, and a line for each signature. Pure. */
import { MeshError } from "../../bus-schemas/index.ts";
import { decodeBase64 } from "./base64.ts";
import type { NoteSigner, NoteVerifier } from "./keys.ts";

/** More signatures than this are refused; the format asks for 16 at least. */
const MAX_SIGNATURES = 100;
/** A key id in front of each signature, bytes. */
const KEY_ID_BYTES = 4;

const SIGNATURE = /^— ([^\s+]+) (\S+)$/;
/** Control characters below U+0020, but the newline: the others, U+007F and above, are allowed. */
const CONTROL = /(?!\n|[\u007f-\u009f])\p{Cc}/u;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** `text` ends with a newline. Returns the note. */
export function signNote(text: string, signers: readonly NoteSigner[]): string {
  return `${text}\n${signers.map((signer) => signatureLine(text, signer)).join("")}`;
}

/** A signature of a text, as a line of its note. */
export function signatureLine(text: string, signer: NoteSigner): string {
  const id = Buffer.alloc(KEY_ID_BYTES);
  id.writeUInt32BE(signer.keyId);
  return `— ${signer.name} ${Buffer.concat([id, signer.sign(Buffer.from(text))]).toString("base64")}\n`;
}

/**
 * The text of a note that at least one of the keys has signed. Signatures of other keys, of whatever type, are passed over.
 * @throws MeshError `bad_request`: not a note, a known key's signature is wrong, or there is none by a known key.
 */
export function openNote(note: Uint8Array, verifiers: readonly NoteVerifier[]): { text: string; signedBy: string[] } {
  const { text, signatures } = split(note);
  const signedBy = signatures.flatMap(({ keyId, name, signature }) => {
    const known = verifiers.find((key) => key.name === name && key.keyId === keyId);
    if (known === undefined) return [];
    if (!known.verify(Buffer.from(text), signature)) throw bad(`the signature of ${name} is wrong`);
    return [name];
  });
  if (signedBy.length === 0) throw bad(`not signed by ${verifiers.map((key) => key.name).join(" or ")}`);
  return { text, signedBy };
}

/** A note's signatures by one key, and whether each holds. @throws MeshError `bad_request` when it is not a note. */
export function signaturesBy(
  note: Uint8Array,
  key: NoteVerifier,
): { line: string; signature: Buffer; holds: boolean }[] {
  const { text, signatures } = split(note);
  return signatures
    .filter(({ keyId, name }) => key.name === name && key.keyId === keyId)
    .map(({ line, signature }) => ({ line, signature, holds: key.verify(Buffer.from(text), signature) }));
}

/** The text of a note that nobody has checked yet. @throws MeshError `bad_request` when it is not a note. */
export function textOf(note: Uint8Array): string {
  return split(note).text;
}

function split(note: Uint8Array) {
  const whole = decode(note);
  const end = whole.lastIndexOf("\n\n");
  const lines = whole.slice(end + 2).split("\n");
  if (end < 0 || lines.pop() !== "" || lines.length === 0) throw bad("not a signed note: it has no signatures");
  if (lines.length > MAX_SIGNATURES) throw bad(`a note with more than ${MAX_SIGNATURES} signatures`);
  const signatures = lines.map((line) => {
    const [, name = "", base64 = ""] = SIGNATURE.exec(line) ?? [];
    const bytes = decodeBase64(base64);
    if (bytes === undefined || bytes.length <= KEY_ID_BYTES) throw bad("a note with a malformed signature line");
    return { line: `${line}\n`, name, keyId: bytes.readUInt32BE(0), signature: bytes.subarray(KEY_ID_BYTES) };
  });
  return { text: whole.slice(0, end + 1), signatures };
}

function decode(note: Uint8Array): string {
  try {
    const text = utf8.decode(note);
    if (!CONTROL.test(text)) return text;
  } catch {
    // Told below.
  }
  throw bad("not a signed note: not plain UTF-8 text");
}

function bad(why: string): MeshError {
  return new MeshError("bad_request", why);
}
