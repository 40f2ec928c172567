import type { SQLInputValue } from "node:sqlite";
import { MeshError } from "../../bus-schemas/index.ts";
import type { StorageKeys } from "../at-rest/storage-keys.ts";

/** How the texts of a log lie in its search index. */
export interface IndexTexts {
  /** Id of the storage key; empty for texts in clear. Another one than in the file, and that is made anew. */
  key: string;
  /** A text that recurs, which has a number; it is read when the index is opened. */
  write(text: string): SQLInputValue;
  read(value: unknown): string;
  /** A text that is only ever compared. */
  token(text: string): SQLInputValue;
}

/** What is bound to the texts. */
const ABOUT = "tiermesh audit index word";

/** By the newest storage key: texts sealed, and tokens (HMAC) where they are compared; without one as they are. */
export function indexTexts({ current: key }: StorageKeys): IndexTexts {
  if (key === undefined) return { key: "", write: (text) => text, read: (text) => String(text), token: (text) => text };
  return {
    key: key.id,
    write: (text) => key.seal(Buffer.from(text), ABOUT),
    read: (value) => {
      const text = value instanceof Uint8Array ? key.open(value, ABOUT) : undefined;
      if (text === undefined) throw new MeshError("conflict", "the search index cannot be decrypted");
      return text.toString();
    },
    token: (text) => key.token(text),
  };
}
