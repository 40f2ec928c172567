import type { KeyObject, X509Certificate } from "node:crypto";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import { type FileLock, waitForLock } from "../file-lock.ts";
import { day, isIssuedBy, RENEW_BEFORE_MS, validityProblem } from "./check.ts";
import { certificatesIn, looseKeyMode, privateKeyIn, readIfThere, replaceFile } from "./files.ts";
import { certifiedHosts, hostsOf } from "./hosts.ts";
import { issueServer, makeAuthority } from "./issue.ts";

/** The certificate files that a bus runs on. */
export interface BusCertificates {
  /** What clients check the bus by; no secret. */
  caFile: string;
  /** The server's certificate, then its authority's. */
  certFile: string;
  keyFile: string;
  /** What this call made: an authority and a certificate, only a certificate, or nothing. */
  made: "authority" | "server" | "nothing";
  /** When the server's certificate ends. It is renewed by a call in the 30 days before. */
  notAfterMs: number;
  /** What works and should be looked at. */
  warnings: string[];
}

interface Authority {
  certPem: string;
  certificate: X509Certificate;
  /** Absent where the authority's key is kept elsewhere: then nothing can be issued here. */
  keyPem: string | undefined;
}

const REMAKE = { todo: "remove it to have it made anew" };
const PUT_BACK = { todo: "put the authority's own file back; one that was replaced is no longer trusted by anyone" };

/**
 * The folder's authority (`ca.pem`, `ca.key`) and a server certificate for `hosts` under it (`server.pem`, `server.key`).
 * Both are made at the first call; later the certificate alone is made anew, for the same key, when the hosts have changed,
 * when less than 30 days are left or when it does not go with its key. An authority is never replaced: clients trust it.
 * `ca.key` may be kept elsewhere as long as nothing has to be issued.
 * @throws MeshError `bad_config` naming the file and what to do when files are missing, broken or someone else's.
 */
export async function ensureCertificates(
  folder: string,
  hosts: readonly string[],
  nowMs: number,
): Promise<BusCertificates> {
  const names = certifiedHosts(hosts).map(({ value }) => value);
  let lock: FileLock;
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    lock = await waitForLock(path.join(folder, "certificates.lock"), () => undefined);
  } catch (error) {
    const { code = "unknown reason" } = error as NodeJS.ErrnoException;
    throw new MeshError("bad_config", `the folder ${folder} cannot be used (${code})`, { cause: error });
  }
  try {
    return await ensureLocked(folder, names, nowMs);
  } finally {
    await lock.release();
  }
}

async function ensureLocked(folder: string, hosts: string[], nowMs: number): Promise<BusCertificates> {
  const at = (name: string) => path.join(folder, name);
  const files = { caFile: at("ca.pem"), certFile: at("server.pem"), keyFile: at("server.key") };
  const caKeyFile = at("ca.key");
  const [certText, keyText] = await Promise.all([readIfThere(files.certFile), readIfThere(files.keyFile)]);
  const found = await readAuthority(files.caFile, caKeyFile, nowMs);
  if (found === undefined && (certText ?? keyText) !== undefined)
    throw bad(
      `${folder} holds a server's certificate or key without ${files.caFile}; put that back, or remove server.pem and server.key to start anew`,
    );
  const authority = found ?? (await newAuthority(files.caFile, caKeyFile, nowMs));

  const current = certText === undefined ? undefined : certificatesIn(files.certFile, certText, REMAKE)[0];
  if (current !== undefined && !isIssuedBy(current, authority.certificate))
    throw bad(
      `${files.certFile} was not issued by ${files.caFile}; remove it and server.key to get new ones, or give your own certificates as such`,
    );
  const key = keyText === undefined ? undefined : ourKey(files.keyFile, keyText, REMAKE);
  const works =
    current !== undefined &&
    key !== undefined &&
    current.checkPrivateKey(key) &&
    validityProblem(current, nowMs) === undefined &&
    sameNames(hostsOf(current), hosts);
  const due = works && current.validToDate.getTime() - nowMs < RENEW_BEFORE_MS;
  // On a server of a cluster the authority's key is elsewhere: what still works does, and people are told in time.
  const good = works && (!due || authority.keyPem === undefined);
  let notAfterMs = current?.validToDate.getTime() ?? 0;
  if (!good) {
    if (authority.keyPem === undefined)
      throw bad(
        `a new server certificate is needed and ${caKeyFile} is not there to issue it; put it back for this start`,
      );
    const { certPem, keyPem } = await issueServer({
      authority: { certPem: authority.certPem, keyPem: authority.keyPem },
      hosts,
      keyPem: keyText,
      nowMs,
    });
    // The key first and never replaced: an interruption leaves a key that the next call issues a certificate for.
    if (keyText === undefined) await replaceFile(files.keyFile, keyPem, 0o600);
    await replaceFile(files.certFile, certPem + authority.certPem, 0o644);
    notAfterMs = certificatesIn(files.certFile, certPem)[0].validToDate.getTime();
  }
  const loose = await Promise.all(
    [files.keyFile, ...(authority.keyPem === undefined ? [] : [caKeyFile])].map((file) => looseKeyMode(file)),
  );
  if (good && due)
    loose.push(
      `${files.certFile} ends on ${day(current)} and ${caKeyFile} is not here to renew it; make it where that is`,
    );
  return {
    ...files,
    made: found === undefined ? "authority" : good ? "nothing" : "server",
    notAfterMs,
    warnings: loose.filter((warning) => warning !== undefined),
  };
}

/** The authority of the folder, or undefined when there is not a trace of one. */
async function readAuthority(certFile: string, keyFile: string, nowMs: number): Promise<Authority | undefined> {
  const [certPem, keyPem] = await Promise.all([readIfThere(certFile), readIfThere(keyFile)]);
  if (certPem === undefined) {
    if (keyPem === undefined) return undefined;
    throw bad(
      `${certFile} is missing beside ${keyFile}; put it back, or remove ${keyFile} if no machine trusts this authority yet`,
    );
  }
  const [certificate] = certificatesIn(certFile, certPem, PUT_BACK);
  if (!certificate.ca) throw bad(`${certFile} is not the certificate of an authority; put the authority's there`);
  const problem = validityProblem(certificate, nowMs);
  if (problem !== undefined || certificate.validToDate.getTime() - nowMs < RENEW_BEFORE_MS)
    throw bad(
      `${certFile}: the authority ${problem ?? `ends on ${day(certificate)}`}; remove all four files to make a new one, and give its ca.pem to every machine`,
    );
  if (keyPem !== undefined && !certificate.checkPrivateKey(ourKey(keyFile, keyPem, PUT_BACK)))
    throw bad(`${keyFile} is not the key of ${certFile}; put the right one there`);
  return { certPem, certificate, keyPem };
}

async function newAuthority(certFile: string, keyFile: string, nowMs: number): Promise<Authority> {
  const { certPem, keyPem } = await makeAuthority({ name: "Tiermesh bus authority", nowMs });
  await replaceFile(keyFile, keyPem, 0o600);
  await replaceFile(certFile, certPem, 0o644);
  return { certPem, keyPem, certificate: certificatesIn(certFile, certPem)[0] };
}

function ourKey(file: string, text: string, role: { todo: string }): KeyObject {
  const key = privateKeyIn(file, text, role);
  if (key.asymmetricKeyDetails?.namedCurve !== "prime256v1")
    throw bad(`${file} is not an ECDSA P-256 key, so not one of ours; ${role.todo}`);
  return key;
}

function sameNames(left: readonly string[], right: readonly string[]): boolean {
  return left.toSorted().join() === right.toSorted().join();
}

function bad(message: string): MeshError {
  return new MeshError("bad_config", message);
}
