import { Packr, Unpackr } from "msgpackr";
import { CONTENT_TYPES, MeshError, SHARED_STRUCTURES, STRUCTURES_VERSION } from "../bus-schemas/index.ts";

/** How a body is written. A message without a Content-Type is JSON: that is what a person's `nats req` sends. */
export type Encoding = "json" | "msgpack" | "shared";

/** Content-Type of our own messages: msgpack with the shared structures of this build. */
export const SHARED_CONTENT_TYPE = `${CONTENT_TYPES.sharedMsgpack}; v=${STRUCTURES_VERSION}`;

// Encoding and decoding have tables of their own: nothing that comes in touches how we write.
const shared = new Packr({ structures: guarded(SHARED_STRUCTURES), maxSharedStructures: SHARED_STRUCTURES.length });
// structuredClone false: a body cannot make cyclic values, which JSON could not carry either.
const plain = new Packr({ useRecords: false, structuredClone: false });
/** A peer's table may be unknown at first; more versions than this in one fleet is an attack, not an upgrade. */
const MAX_VERSIONS = 16;
/** Decoders by the version of the sender's table; ours from the start, others when learned. */
const decoders = new Map<string, { table: readonly (readonly string[])[]; unpackr: Unpackr }>();
learnStructures(STRUCTURES_VERSION, SHARED_STRUCTURES);
const jsonDecoder = new TextDecoder("utf-8", { fatal: true });
const jsonEncoder = new TextEncoder();

/** The value of a Content-Type header that names this encoding. */
export function contentType(encoding: Encoding): string {
  return encoding === "json"
    ? CONTENT_TYPES.json
    : encoding === "msgpack"
      ? CONTENT_TYPES.msgpack
      : SHARED_CONTENT_TYPE;
}

/**
 * The encoding to answer in, given the request's Content-Type.
 * A peer with another table of structures is answered in plain msgpack, which every build reads; a Content-Type that
 * we do not know, in JSON, because a person may have typed it.
 */
export function answerEncoding(requestContentType: string | undefined): Encoding {
  if (requestContentType === SHARED_CONTENT_TYPE) return "shared";
  const binary = [CONTENT_TYPES.msgpack, CONTENT_TYPES.sharedMsgpack].some((type) =>
    requestContentType?.startsWith(type),
  );
  return binary ? "msgpack" : "json";
}

export function encode(value: unknown, encoding: Encoding): Uint8Array {
  if (encoding === "json") return jsonEncoder.encode(JSON.stringify(value));
  return (encoding === "shared" ? shared : plain).pack(value);
}

/**
 * @throws MeshError `bad_request` when the bytes are not what the Content-Type says, `codec_unknown` when the sender's
 * structure table is not known yet (see `learnStructures`).
 */
export function decode(data: Uint8Array, type: string | undefined): unknown {
  if (type === undefined || type === "" || type.startsWith(CONTENT_TYPES.json)) {
    try {
      return JSON.parse(jsonDecoder.decode(data)) as unknown;
    } catch {
      throw new MeshError("bad_request", `the body is not JSON (${data.length} bytes); set Content-Type for msgpack`);
    }
  }
  const decoder = type.startsWith(CONTENT_TYPES.msgpack) ? plain : decoderFor(structuresVersion(type), data);
  if (decoder === undefined) {
    throw structuresVersion(type) === undefined
      ? new MeshError("bad_request", "unknown Content-Type; use application/json or application/msgpack", {
          field: "Content-Type",
        })
      : new MeshError("codec_unknown", "this build does not know the sender's structure table; send application/json");
  }
  try {
    return decoder.unpack(data) as unknown;
  } catch {
    throw new MeshError("bad_request", `the body is not msgpack (${data.length} bytes)`);
  }
}

/** The table version named by a shared-structures Content-Type, or undefined for any other type. */
export function structuresVersion(type: string): string | undefined {
  if (!type.startsWith(CONTENT_TYPES.sharedMsgpack)) return undefined;
  return /;\s*v=([0-9a-f]{8})$/.exec(type)?.[1];
}

/** From now on decodes messages of a peer whose build has another table. Our own table cannot be replaced. */
export function learnStructures(version: string, table: readonly (readonly string[])[]): void {
  if (decoders.has(version) || decoders.size >= MAX_VERSIONS) return;
  decoders.set(version, { table, unpackr: newUnpackr(table) });
}

/** A two-byte record definition: our encoder never writes one, and msgpackr would keep it for good. */
const LONG_DEFINITION = Buffer.of(0xd5, 0x72);

function decoderFor(version: string | undefined, data: Uint8Array): Unpackr | undefined {
  const known = version === undefined ? undefined : decoders.get(version);
  if (known === undefined) return undefined;
  const suspicious = Buffer.from(data.buffer, data.byteOffset, data.byteLength).includes(LONG_DEFINITION);
  return suspicious ? newUnpackr(known.table) : known.unpackr;
}

function newUnpackr(table: readonly (readonly string[])[]): Unpackr {
  return new Unpackr({ structures: guarded(table), maxSharedStructures: table.length, structuredClone: false });
}

/**
 * A copy of the table for msgpackr, marked so that it restores an entry which a message redefined. Without the mark one
 * message could change how every later one is read.
 */
function guarded(table: readonly (readonly string[])[]): string[][] {
  return table.map((keys) => Object.assign([...keys], { isShared: true }));
}
