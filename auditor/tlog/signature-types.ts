/** The ways to sign a note that are known here, by their identifier byte (c2sp.org/signed-note, c2sp.org/tlog-cosignature). */
import { sign, verify, type KeyObject } from "node:crypto";
import { MeshError } from "../../bus-schemas/index.ts";
import { TIME_BYTES, cosignatureTimeS, cosigned, cosignedSubtree, timeBytes } from "./cosignature.ts";

/** `signature`: of the text as it is. `cosignature`: of a checkpoint and a time (c2sp.org/tlog-cosignature), by a witness or the log itself. */
export type KeyKind = "signature" | "cosignature";

/** How keys of an algorithm are written. */
interface Algorithm {
  name: "ed25519" | "ml-dsa-44";
  publicBytes: number;
  /** What stands before a public key in SPKI, and before a seed of 32 bytes in PKCS #8. */
  spkiHead: Buffer;
  pkcs8Head: Buffer;
}

export interface SignatureType {
  kind: KeyKind;
  algorithm: Algorithm;
  /** @param name of the key */
  verify(key: KeyObject, name: string, text: Uint8Array, signature: Uint8Array): boolean;
  /** @throws MeshError `bad_request` when a text cannot be signed this way */
  sign(key: KeyObject, name: string, text: Uint8Array, timeS: () => number): Buffer;
}

/** Length of an Ed25519 private key's seed (RFC 8032) and of an ML-DSA one's (FIPS 204), bytes. */
export const SEED_BYTES = 32;

/** RFC 8410, sections 4 and 7. */
const ED25519: Algorithm = {
  name: "ed25519",
  publicBytes: 32,
  spkiHead: Buffer.from("302a300506032b6570032100", "hex"),
  pkcs8Head: Buffer.from("302e020100300506032b657004220420", "hex"),
};
/** RFC 9881, sections 4 and 6; the private key as its seed alone. */
const ML_DSA_44: Algorithm = {
  name: "ml-dsa-44",
  publicBytes: 1312,
  spkiHead: Buffer.from("30820532300b06096086480165030403110382052100", "hex"),
  pkcs8Head: Buffer.from("3034020100300b060960864801650304031104228020", "hex"),
};

/** The signature alone of a cosignature of `bytes` bytes; undefined when it has not that length or its time cannot be. */
function taken(signature: Uint8Array, bytes: number): { timeS: number; bare: Uint8Array } | undefined {
  const timeS = cosignatureTimeS(signature);
  return timeS === undefined || signature.length !== TIME_BYTES + bytes
    ? undefined
    : { timeS, bare: signature.subarray(TIME_BYTES) };
}

function timed(key: KeyObject, timeS: number, message: Uint8Array): Buffer {
  return Buffer.concat([timeBytes(timeS), sign(null, message, key)]);
}

export const SIGNATURE_TYPES: ReadonlyMap<number, SignatureType> = new Map<number, SignatureType>([
  [
    0x01,
    {
      kind: "signature",
      algorithm: ED25519,
      verify: (key, _, text, signature) => verify(null, text, key, signature),
      sign: (key, _, text) => sign(null, text, key),
    },
  ],
  [
    0x04,
    {
      kind: "cosignature",
      algorithm: ED25519,
      verify: (key, _, text, signature) => {
        const found = taken(signature, 64);
        return found !== undefined && verify(null, cosigned(text, found.timeS), key, found.bare);
      },
      sign: (key, _, text, nowS) => {
        const timeS = Math.floor(nowS());
        return timed(key, timeS, cosigned(text, timeS));
      },
    },
  ],
  [
    0x06,
    {
      kind: "cosignature",
      algorithm: ML_DSA_44,
      verify: (key, name, text, signature) => {
        const found = taken(signature, 2420);
        const message = found && cosignedSubtree(name, text, found.timeS);
        return message !== undefined && verify(null, message, key, found?.bare ?? signature);
      },
      sign: (key, name, text, nowS) => {
        const timeS = Math.floor(nowS());
        const message = cosignedSubtree(name, text, timeS);
        if (message === undefined) throw new MeshError("bad_request", "only a checkpoint can be signed by ML-DSA-44");
        return timed(key, timeS, message);
      },
    },
  ],
]);

/** The identifier byte for new keys. */
export function typeOf(kind: KeyKind, algorithm: Algorithm["name"]): number {
  const found = Array.from(SIGNATURE_TYPES).find(([, type]) => type.kind === kind && type.algorithm.name === algorithm);
  if (found === undefined) throw new MeshError("not_supported", `no ${kind} by ${algorithm}`);
  return found[0];
}
