import { createHmac, type Hmac } from "node:crypto";
import { INPUT_FIELDS } from "../bus-schemas/index.ts";
import { canonicalJson } from "./canonical-json.ts";

/** What a commitment begins with: how it was made. */
const PREFIX = "hmac-sha256:";
/** Length of a salt, bytes: as long as the hash, so that nobody can try all. */
export const SALT_BYTES = 32;

/** HMAC-SHA-256 of a content by a salt; text as UTF-8. */
export function commitment(salt: Uint8Array, content: Uint8Array | string): string {
  return PREFIX + createHmac("sha256", salt).update(content).digest("hex");
}

/** A job's input as it is committed to: whatever of these fields it has, as canonical JSON. */
export function inputText(job: Readonly<Record<string, unknown>>): string {
  return canonicalJson(Object.fromEntries(INPUT_FIELDS.map((field) => [field, job[field]])));
}

/** Text is gathered up to this length, characters: a call for each token would cost more than the hashing itself. */
const GATHERED_CHARS = 8192;

/** The commitment of a text that comes in pieces. */
export class TextCommitment {
  readonly #hmac: Hmac;
  #text = "";

  constructor(salt: Uint8Array, beginning = "") {
    this.#hmac = createHmac("sha256", salt);
    this.#text = beginning;
  }

  add(piece: string): void {
    this.#text += piece;
    if (this.#text.length < GATHERED_CHARS) return;
    // Half of a pair of UTF-16 waits for the other half: alone it would be written as something else.
    const end = /[\uD800-\uDBFF]$/.test(this.#text) ? this.#text.length - 1 : this.#text.length;
    this.#hmac.update(this.#text.slice(0, end));
    this.#text = this.#text.slice(end);
  }

  /** Once. */
  done(): string {
    return PREFIX + this.#hmac.update(this.#text).digest("hex");
  }
}
