/** The body of `POST /add-checkpoint` by c2sp.org/tlog-witness. Pure. */
import { MeshError } from "../../bus-schemas/index.ts";
import { decodeBase64 } from "../tlog/base64.ts";
import { HASH_BYTES } from "../tlog/hash.ts";

export interface AddCheckpoint {
  /** Entries of the checkpoint that the witness is thought to have cosigned last; 0 = none. */
  oldSize: number;
  /** That the log of `oldSize` entries is the beginning of the checkpoint's. */
  proof: readonly Uint8Array[];
  /** The signed note. */
  checkpoint: string;
}

/** As the format has it. */
const MAX_PROOF_LINES = 63;
/** Longest body, bytes: a proof, a checkpoint and many signatures. */
export const MAX_BODY_BYTES = 64 * 1024;
/** Of the answer that tells the size of what was cosigned last. */
export const SIZE_TYPE = "text/x.tlog.size";

export function formatAddCheckpoint({ oldSize, proof, checkpoint }: AddCheckpoint): string {
  const lines = proof.map((hash) => `${Buffer.from(hash).toString("base64")}\n`).join("");
  return `old ${oldSize}\n${lines}\n${checkpoint}`;
}

/** @throws MeshError `bad_request` saying which line is not as the format has it. */
export function parseAddCheckpoint(body: string): AddCheckpoint {
  const end = body.indexOf("\n\n");
  if (end < 0) throw bad("no empty line before the checkpoint");
  const [old = "", ...lines] = body.slice(0, end).split("\n");
  const oldSize = parseSize(/^old (\S+)$/.exec(old)?.[1] ?? "");
  if (oldSize === undefined) throw bad("its first line is not `old` and a size");
  if (lines.length > MAX_PROOF_LINES) throw bad(`more than ${MAX_PROOF_LINES} lines of proof`);
  const proof = lines.map((line) => {
    const hash = decodeBase64(line);
    if (hash?.length !== HASH_BYTES) throw bad("a line of its proof is not a hash");
    return hash;
  });
  return { oldSize, proof, checkpoint: body.slice(end + 2) };
}

/** A decimal without leading zeroes, up to 2^53. */
export function parseSize(text: string): number | undefined {
  const size = /^(?:0|[1-9]\d{0,15})$/.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(size) ? size : undefined;
}

function bad(why: string): MeshError {
  return new MeshError("bad_request", `not a request to cosign: ${why}`);
}
