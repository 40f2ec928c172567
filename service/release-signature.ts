import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  verify,
  type KeyObject,
} from "node:crypto";
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { MeshError, fieldPath } from "../bus-schemas/index.ts";

/**
 * How a released file is signed: a statement of what it is, which version, for which system, how long and with which SHA-256, and
 * Ed25519 (RFC 8032) over the bytes of that statement. Who has a file that is signed for another system or as another program does not
 * pass it off for this one.
 */
const Statement = z.strictObject({
  v: z.literal(1),
  product: z.string().regex(/^[a-z0-9-]{1,64}$/),
  version: z.string().min(1).max(64),
  /** As Node names them. */
  platform: z.string().regex(/^[a-z0-9]{1,20}$/),
  arch: z.string().regex(/^[a-z0-9]{1,20}$/),
  bytes: z.number().int().positive(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
export type Statement = z.infer<typeof Statement>;

const SignatureFile = z.strictObject({
  statement: z.string().max(4000),
  /** Of the statement's UTF-8 bytes, base64. */
  signature: z.string().regex(/^[A-Za-z0-9+/]{86}==$/),
});

/** Longer is no signature file, characters. */
const MAX_CHARS = 10_000;

/** Text of the file that travels beside the signed one. */
export function writeSignature(statement: Statement, privateKeyPem: string): string {
  const text = JSON.stringify(Statement.parse(statement));
  const signature = sign(null, Buffer.from(text), privateKey(privateKeyPem)).toString("base64");
  return `${JSON.stringify({ statement: text, signature }, null, 2)}\n`;
}

/**
 * What the signer says of the file, if `publicKeyPem` is his key. That the file is that one is to be checked still, by its SHA-256.
 * @throws MeshError `bad_config` for what is no signature file or key, `forbidden` for a signature by another key
 */
export function readSignature(text: string, publicKeyPem: string): Statement {
  const file = signatureFile(text);
  const signature = Buffer.from(file.signature, "base64");
  if (!verify(null, Buffer.from(file.statement), publicKey(publicKeyPem), signature))
    throw new MeshError("forbidden", "the signature was not made by the key that this machine trusts", {
      field: "signature",
    });
  return statementOf(file);
}

/**
 * What a signature file says, whoever made it: to see which release a file is of. It vouches for nothing.
 * @throws MeshError `bad_config` for what is no signature file
 */
export function readUnverified(text: string): Statement {
  return statementOf(signatureFile(text));
}

/** A new pair of keys, PEM: PKCS #8 and SubjectPublicKeyInfo. */
export function newSigningKeys(): { privateKeyPem: string; publicKeyPem: string } {
  const { privateKey: secret, publicKey: open } = generateKeyPairSync("ed25519");
  return {
    privateKeyPem: secret.export({ type: "pkcs8", format: "pem" }).toString(),
    publicKeyPem: open.export({ type: "spki", format: "pem" }).toString(),
  };
}

/** @throws MeshError `bad_config` when it is no public Ed25519 key; it is not quoted */
export function checkPublicKey(pem: string): void {
  publicKey(pem);
}

/** SHA-256 of a file, hex, read in pieces. @throws what the system says */
export async function fileDigest(file: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex");
}

function signatureFile(text: string): z.infer<typeof SignatureFile> {
  const file = SignatureFile.safeParse(text.length > MAX_CHARS ? undefined : parseJson(text));
  if (file.success) return file.data;
  throw notASignature(String(file.error.issues[0]?.path[0] ?? "it is no JSON object"));
}

function statementOf(file: z.infer<typeof SignatureFile>): Statement {
  const statement = Statement.safeParse(parseJson(file.statement));
  if (statement.success) return statement.data;
  throw notASignature(fieldPath(statement.error.issues[0]?.path ?? ["statement"]));
}

function privateKey(pem: string): KeyObject {
  return ed25519(() => createPrivateKey(pem), "private");
}

function publicKey(pem: string): KeyObject {
  // createPublicKey would take a private key too; who pins one by mistake has given it away.
  if (pem.includes("PRIVATE"))
    throw new MeshError("bad_config", "the release key is a private key; only its public half belongs here");
  return ed25519(() => createPublicKey(pem), "public");
}

function ed25519(read: () => KeyObject, kind: "private" | "public"): KeyObject {
  try {
    const key = read();
    if (key.asymmetricKeyType === "ed25519") return key;
  } catch {
    // Said below, without the key.
  }
  throw new MeshError(
    "bad_config",
    `the release key is no ${kind} Ed25519 key in PEM (openssl genpkey -algorithm ed25519)`,
  );
}

function notASignature(what: string): MeshError {
  return new MeshError("bad_config", `that is no signature of a release: ${what} is not valid`, { field: "signature" });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
