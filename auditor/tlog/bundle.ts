/** Entry bundles of c2sp.org/tlog-tiles: each entry behind its length as a big-endian uint16. Pure. */
import { MeshError } from "../../bus-schemas/index.ts";

/** Largest entry, bytes: what a uint16 counts. */
export const MAX_ENTRY_BYTES = 65_535;

/** @throws MeshError `payload_too_large` for an entry above {@link MAX_ENTRY_BYTES}. */
export function encodeBundle(entries: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    entries.flatMap((entry) => {
      if (entry.length > MAX_ENTRY_BYTES)
        throw new MeshError("payload_too_large", `an entry of ${entry.length} bytes; ${MAX_ENTRY_BYTES} at most`);
      return [Buffer.of(entry.length >> 8, entry.length & 0xff), entry];
    }),
  );
}

/** The entries of a bundle; undefined when its lengths do not end where it ends. */
export function decodeBundle(bundle: Buffer): Buffer[] | undefined {
  const entries: Buffer[] = [];
  for (let at = 0; at < bundle.length;) {
    if (at + 2 > bundle.length) return undefined;
    const end = at + 2 + bundle.readUInt16BE(at);
    if (end > bundle.length) return undefined;
    entries.push(bundle.subarray(at + 2, end));
    at = end;
  }
  return entries;
}
