import { signaturesBy, textOf } from "../tlog/note.ts";
import { SIZE_TYPE, formatAddCheckpoint, parseSize } from "./request.ts";
import { post, reasonOf } from "./post.ts";
import type { WitnessAddress } from "./witness-list.ts";

/** A checkpoint that is to be cosigned, and what the log can prove of itself. */
export interface Submission {
  /** The signed note. */
  note: string;
  size: number;
  consistency(oldSize: number, size: number): readonly Uint8Array[];
}

/** What came of asking. */
export type Asked =
  | { state: "cosigned"; line: string }
  /** It refuses this log: another history, or a longer one, was cosigned before. */
  | { state: "refused"; reason: string }
  /** It cannot be reached, or answers what it should not. */
  | { state: "away"; reason: string };

/** Asks a witness to cosign, from what it said last; learns that from it when it is another. Never throws. */
export async function askWitness(
  { ca, key, url }: WitnessAddress,
  submission: Submission,
  lastSize: number,
  signal: AbortSignal,
): Promise<Asked> {
  const { consistency, note, size } = submission;
  let oldSize = lastSize;
  try {
    for (let attempt = 0; attempt < 2; attempt++) {
      const body = formatAddCheckpoint({ oldSize, proof: consistency(oldSize, size), checkpoint: note });
      const { status, text, type } = await post(`${url}/add-checkpoint`, body, ca, signal);
      const known = status === 409 && type.startsWith(SIZE_TYPE) ? parseSize(text.trimEnd()) : undefined;
      if (status === 200) return cosigned(note, text, key);
      if (status === 422)
        return { state: "refused", reason: "it sees no proof that the log goes on from what it cosigned" };
      if (known === undefined) return { state: "away", reason: `HTTP ${status}` };
      if (known > size) return { state: "refused", reason: `it has cosigned ${known} entries, and here are ${size}` };
      if (known === oldSize) return { state: "refused", reason: "it has cosigned another root for this size" };
      oldSize = known;
    }
    return { state: "away", reason: "it was asked by somebody else at the same time" };
  } catch (error) {
    return { state: "away", reason: reasonOf(error) };
  }
}

function cosigned(note: string, text: string, key: WitnessAddress["key"]): Asked {
  const body = textOf(Buffer.from(note));
  const mine = signaturesBy(Buffer.from(`${body}\n${text}`), key).find(({ holds }) => holds);
  return mine === undefined
    ? { state: "away", reason: "its answer has no signature by its key" }
    : { state: "cosigned", line: mine.line };
}
