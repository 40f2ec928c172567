import { X509Certificate } from "node:crypto";
import { MeshError } from "../../bus-schemas/index.ts";
import { DISK } from "../tlog/files.ts";
import { parseVerifierKey, type NoteVerifier } from "../tlog/keys.ts";

/** A witness that is asked to cosign. */
export interface WitnessAddress {
  /** As the list calls it. */
  name: string;
  key: NoteVerifier;
  /** Submission prefix: `<url>/add-checkpoint` takes checkpoints. */
  url: string;
  /** Authority of its certificate, PEM; those of the system if undefined. */
  ca?: string | undefined;
}

const MAX_WITNESSES = 32;
/** Names go into events and metrics, characters. */
const MAX_NAME = 100;

/** What is known of witnesses, in a file. */
export interface WitnessFiles {
  /** The list. */
  list: string;
  /** Authority of their certificates, PEM. */
  ca?: string | undefined;
}

/**
 * The witnesses of a list by c2sp.org/tlog-policy, lines `witness <name> <vkey> <url>`; none when there is no such file.
 * Its other lines (log, group, quorum) say how to verify, and are passed over.
 * @throws MeshError `bad_config` naming the line, or the authority's file.
 */
export async function readWitnessList({ ca: caFile, list }: WitnessFiles): Promise<WitnessAddress[]> {
  const text = (await DISK.read(list))?.toString() ?? "";
  const ca = caFile === undefined ? undefined : await readAuthority(caFile);
  return parseWitnessList(text, list).map((witness) => ({ ...witness, ca }));
}

async function readAuthority(file: string): Promise<string> {
  const pem = (await DISK.read(file))?.toString() ?? "";
  try {
    // Each part has to be one; the TLS of Node passes over what it cannot read.
    const parts = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    if (parts.length > 0 && parts.every((part) => new X509Certificate(part).ca)) return pem;
  } catch {
    // Told below.
  }
  throw new MeshError("bad_config", `${file}: holds no certificate of an authority in PEM`);
}

function parseWitnessList(text: string, file: string): WitnessAddress[] {
  const witnesses = text.split("\n").flatMap((line, i) => parseLine(line, `${file}:${i + 1}`) ?? []);
  for (const [i, { key, name }] of witnesses.entries()) {
    const twice = witnesses.slice(0, i).some((other) => other.name === name || other.key.keyId === key.keyId);
    if (twice) throw new MeshError("bad_config", `${file}: the witness ${name} is there twice`);
  }
  if (witnesses.length > MAX_WITNESSES)
    throw new MeshError("bad_config", `${file}: more than ${MAX_WITNESSES} witnesses`);
  return witnesses;
}

function parseLine(line: string, where: string): WitnessAddress | undefined {
  const [verb = "", name = "", vkey = "", url = "", ...more] = line.trim().split(/[ \t]+/);
  if (verb === "" || verb.startsWith("#") || ["log", "group", "quorum"].includes(verb)) return undefined;
  if (verb !== "witness" || url === "" || more.length > 0)
    throw new MeshError("bad_config", `${where}: not \`witness <name> <verifier key> <url>\``);
  if (name.length > MAX_NAME) throw new MeshError("bad_config", `${where}: a name of more than ${MAX_NAME} characters`);
  let key: NoteVerifier;
  try {
    key = parseVerifierKey(vkey);
  } catch (error) {
    throw new MeshError("bad_config", `${where}: ${MeshError.from(error).message}`);
  }
  if (key.kind !== "cosignature") throw new MeshError("bad_config", `${where}: the key of a log, not of a witness`);
  if (!/^https?:$/.test(URL.parse(url)?.protocol ?? ""))
    throw new MeshError("bad_config", `${where}: its address is no http or https URL`);
  return { name, key, url: url.replace(/\/+$/, "") };
}
