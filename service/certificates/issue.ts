import { createPrivateKey, createPublicKey, randomBytes, webcrypto, X509Certificate } from "node:crypto";
import { MeshError } from "../../bus-schemas/index.ts";
import { certifiedHosts } from "./hosts.ts";

/** A certificate and its private key (PKCS #8), both PEM. */
export interface CertifiedKey {
  certPem: string;
  keyPem: string;
}

export interface AuthorityOptions {
  /** Common name of the authority, for people; at most 64 characters. */
  name: string;
  /** How long it is valid; ten years by default. */
  days?: number;
  nowMs?: number;
}

export interface ServerOptions {
  authority: CertifiedKey;
  /** Names and addresses, v4 and v6, by which clients and other servers of the cluster reach the server. */
  hosts: readonly string[];
  /** How long it is valid, but never longer than its authority; 825 days by default, the most that Apple's systems take. */
  days?: number;
  /** The server's key if it has one already; else it gets a new one. */
  keyPem?: string | undefined;
  nowMs?: number;
}

const DAY_MS = 86_400_000;
/** Certificates begin this long before they are made: clocks differ. */
const BACKDATE_MS = 10 * 60_000;
const P256 = { name: "ECDSA", namedCurve: "P-256" } as const;
const SIGNING = { name: "ECDSA", hash: "SHA-256" } as const;

/** A new authority (ECDSA P-256) that certifies servers and no other authorities. */
export async function makeAuthority({
  name,
  days = 3650,
  nowMs = Date.now(),
}: AuthorityOptions): Promise<CertifiedKey> {
  const x509 = await library();
  if (name.trim() === "" || name.length > 64)
    throw new MeshError("bad_config", "the name of an authority has 1 to 64 characters", { field: "name" });
  const keys = await webcrypto.subtle.generateKey(P256, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: [name] }],
    notBefore: new Date(nowMs - BACKDATE_MS),
    notAfter: new Date(nowMs + days * DAY_MS),
    signingAlgorithm: SIGNING,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certPem: ending(certificate.toString("pem")), keyPem: await keyToPem(keys.privateKey) };
}

/**
 * A certificate for a server under `authority`, for both ends of a TLS connection: the servers of a cluster dial each other.
 * @throws MeshError `bad_config` when a host is not valid or a key is not ECDSA P-256.
 */
export async function issueServer(options: ServerOptions): Promise<CertifiedKey> {
  const { authority, hosts, days = 825, keyPem, nowMs = Date.now() } = options;
  const names = certifiedHosts(hosts);
  const x509 = await library();
  const issuer = new X509Certificate(authority.certPem);
  const issuerKey = await keyFromPem(authority.keyPem, "the authority's key");
  const serverKey =
    keyPem ?? (await keyToPem((await webcrypto.subtle.generateKey(P256, true, ["sign", "verify"])).privateKey));
  const publicKey = await publicOf(serverKey);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: [{ CN: ["Tiermesh bus server"] }],
    issuer: new x509.X509Certificate(authority.certPem).subjectName,
    notBefore: new Date(nowMs - BACKDATE_MS),
    notAfter: new Date(Math.min(nowMs + days * DAY_MS, issuer.validToDate.getTime())),
    signingAlgorithm: SIGNING,
    publicKey,
    signingKey: issuerKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      new x509.SubjectAlternativeNameExtension(names),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(await publicOf(authority.keyPem)),
    ],
  });
  return { certPem: ending(certificate.toString("pem")), keyPem: serverKey };
}

/**
 * Loaded only when something is issued: it costs 65 ms and 20 MB, and its container library adds to the global Reflect.
 */
async function library(): Promise<typeof import("@peculiar/x509")> {
  await import("reflect-metadata");
  return import("@peculiar/x509");
}

/** 128 random bits, behind a byte that keeps the number positive and its encoding the shortest. */
function serialNumber(): string {
  return `01${randomBytes(16).toString("hex")}`;
}

async function keyToPem(key: webcrypto.CryptoKey): Promise<string> {
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", key));
  return createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" })
    .export({ format: "pem", type: "pkcs8" })
    .toString();
}

async function keyFromPem(pem: string, whose: string): Promise<webcrypto.CryptoKey> {
  try {
    const pkcs8 = createPrivateKey(pem).export({ format: "der", type: "pkcs8" });
    return await webcrypto.subtle.importKey("pkcs8", pkcs8, P256, true, ["sign"]);
  } catch {
    // Not chained: what a parser says may quote its input.
    throw new MeshError("bad_config", `${whose} is not an unencrypted ECDSA P-256 key in PEM`);
  }
}

async function publicOf(keyPem: string): Promise<webcrypto.CryptoKey> {
  await keyFromPem(keyPem, "the server's key");
  const spki = createPublicKey(keyPem).export({ format: "der", type: "spki" });
  return webcrypto.subtle.importKey("spki", spki, P256, true, ["verify"]);
}

function ending(pem: string): string {
  return pem.endsWith("\n") ? pem : `${pem}\n`;
}
