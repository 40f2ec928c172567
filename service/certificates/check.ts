import type { X509Certificate } from "node:crypto";
import { MeshError } from "../../bus-schemas/index.ts";
import { certificatesIn, looseKeyMode, privateKeyIn, readIfThere } from "./files.ts";
import { certifiedHosts, covers, hostsOf } from "./hosts.ts";

/** Certificate files that an operator brings along. */
export interface GivenCertificates {
  /** The server's certificate, then those of the authorities between it and `caFile`. */
  certFile: string;
  keyFile: string;
  /** The authority, or several. */
  caFile: string;
  /** Names and addresses by which clients and other servers of the cluster reach the server. */
  hosts: readonly string[];
  nowMs?: number;
}

/** What a certificate says, for people. */
export interface CertificateDescription {
  subject: string;
  /** The names and addresses it vouches for. */
  hosts: string[];
  issuer: string;
  notBeforeMs: number;
  notAfterMs: number;
  /** SHA-256 of the certificate, hexadecimal in pairs, as `openssl x509 -fingerprint -sha256` prints it. */
  fingerprint: string;
}

/** From this long before its end a certificate should be, and ours is, renewed. */
export const RENEW_BEFORE_MS = 30 * 86_400_000;

const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";

/** What the first certificate of a PEM text says. @throws MeshError `bad_config` when there is none. */
export function describeCertificate(pem: string): CertificateDescription {
  const [certificate] = certificatesIn("the text", pem);
  return {
    subject: oneLine(certificate.subject),
    hosts: hostsOf(certificate),
    issuer: oneLine(certificate.issuer),
    notBeforeMs: certificate.validFromDate.getTime(),
    notAfterMs: certificate.validToDate.getTime(),
    fingerprint: certificate.fingerprint256,
  };
}

/**
 * Whether a bus can run on these files: the key belongs to the certificate, the chain ends at the authority, nothing on it
 * has expired, and the hosts are covered. Returns what works today and should be looked at.
 * @throws MeshError `bad_config` naming the file and, as `field`, the setting.
 */
export async function checkGiven(given: GivenCertificates): Promise<string[]> {
  const { certFile, keyFile, caFile, nowMs = Date.now() } = given;
  const hosts = certifiedHosts(given.hosts);
  const [certificate, ...between] = certificatesIn(certFile, await needed(certFile, "certFile"), { field: "certFile" });
  const key = privateKeyIn(keyFile, await needed(keyFile, "keyFile"), { field: "keyFile" });
  const authorities = certificatesIn(caFile, await needed(caFile, "caFile"), { field: "caFile" });

  const refuse = (field: string, message: string) => new MeshError("bad_config", message, { field });
  if (!certificate.checkPrivateKey(key))
    throw refuse("keyFile", `${keyFile} is not the key of ${certFile}; give the key that the certificate was made for`);
  const problem = validityProblem(certificate, nowMs);
  if (problem !== undefined) throw refuse("certFile", `${certFile}: the certificate ${problem}; have it renewed`);
  const broken = chainProblem([certificate, ...between], authorities, nowMs);
  if (broken !== undefined)
    throw refuse(
      "caFile",
      `${certFile} does not lead to an authority in ${caFile}: ${broken}; give the authority that issued it, and put the authorities between them into ${certFile}`,
    );
  const missing = hosts.filter((host) => !covers(certificate, host)).map(({ value }) => value);
  if (missing.length > 0)
    throw refuse(
      "certFile",
      `${certFile} is for ${hostsOf(certificate).join(", ") || "no host at all"} and not for ${missing.join(", ")}; have it issued with all names and addresses of the bus`,
    );
  // Node calls the extended key usages `keyUsage`; without any the certificate is for everything.
  const usages = certificate.keyUsage as string[] | undefined;
  if (usages !== undefined && !usages.includes(SERVER_AUTH))
    throw refuse("certFile", `${certFile} is not for servers (extended key usage serverAuth); have it issued for one`);

  const warnings: (string | undefined)[] = [
    usages === undefined || usages.includes(CLIENT_AUTH)
      ? undefined
      : `${certFile} is not for clients (extended key usage clientAuth): it does for a single server, not for a cluster`,
    certificate.validToDate.getTime() - nowMs < RENEW_BEFORE_MS
      ? `${certFile} ends on ${day(certificate)}; have it renewed`
      : undefined,
    await looseKeyMode(keyFile),
  ];
  return warnings.filter((warning) => warning !== undefined);
}

/** `has expired on …` or the like, or undefined while the certificate is valid. */
export function validityProblem(certificate: X509Certificate, nowMs: number): string | undefined {
  if (certificate.validToDate.getTime() <= nowMs) return `has expired on ${day(certificate)}`;
  if (certificate.validFromDate.getTime() > nowMs)
    return `is not valid before ${certificate.validFromDate.toISOString()}`;
  return undefined;
}

/** Whether `issuer` has signed `certificate` and may do so. */
export function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

/** The last day of a certificate, `2027-01-31`. */
export function day(certificate: X509Certificate): string {
  return certificate.validToDate.toISOString().slice(0, 10);
}

/** Walks from the first certificate up to one of the authorities; says where the way ends, or undefined when it arrives. */
function chainProblem(
  [leaf, ...between]: readonly [X509Certificate, ...X509Certificate[]],
  authorities: readonly X509Certificate[],
  nowMs: number,
): string | undefined {
  const left = new Set(between);
  let current = leaf;
  for (;;) {
    const issuedCurrent = (candidate: X509Certificate) => isIssuedBy(current, candidate);
    const authority = authorities.find(issuedCurrent);
    const next = authority ?? [...left].find(issuedCurrent);
    if (next === undefined) return `“${oneLine(current.issuer)}” is not there`;
    const problem = validityProblem(next, nowMs);
    if (problem !== undefined) return `“${oneLine(next.subject)}” ${problem}`;
    if (authority !== undefined) return undefined;
    left.delete(next);
    current = next;
  }
}

async function needed(file: string, field: string): Promise<string> {
  const text = await readIfThere(file, field);
  if (text === undefined) throw new MeshError("bad_config", `${file} is not there`, { field });
  return text;
}

/** Node writes one part of a name a line. */
function oneLine(name: string): string {
  return name.split("\n").join(", ");
}
