import { X509Certificate } from "node:crypto";
import { on, once } from "node:events";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { connect as dial, isIP, type Socket } from "node:net";
import { checkServerIdentity, connect as secure, type PeerCertificate } from "node:tls";
import type { ConnectionOptions, Server } from "@nats-io/transport-node";
import { MeshError } from "../bus-schemas/index.ts";
import { EARLY_BYTES, refuseEarlyBytes } from "./tls-upgrade.ts";

/** Of a bus's address what its TLS depends on. */
export interface TlsAddress {
  url: string;
  /** File of the authority (PEM) that the bus is checked by. With it the connection is encrypted and checked, or is not made. */
  caFile?: string | undefined;
}

/** A server dialled again within this time has refused us just before, milliseconds. */
const REDIAL_MS = 30_000;
/** Between two looks at why a server cannot be reached, milliseconds. */
const LOOK_EVERY_MS = 5000;
/** For one such look, milliseconds. */
const LOOK_LIMIT_MS = 3000;

const UNKNOWN_AUTHORITY = new Set([
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "CERT_SIGNATURE_FAILURE",
  "INVALID_CA",
]);

/** What nats-core 3.4.0 says when TLS is configured and the server's greeting offers none (options.js). */
const NO_TLS_OFFERED = "server does not support 'tls'";

/**
 * The TLS part of `connect()`'s options. With a CA, or a `tls://` URL (then by the authorities that Node knows), a server
 * without TLS is refused before anything but its greeting was read: nats.js itself only upgrades when it is offered to.
 * `onTrouble` gets a line for the log when a server cannot be returned to for a reason of TLS; the library says nothing then.
 * @throws MeshError `bad_config` naming the CA file when it cannot be used.
 */
export function tlsOptions(
  address: TlsAddress,
  onTrouble: (line: string) => void,
): Pick<ConnectionOptions, "tls" | "reconnectToServer"> {
  const { caFile } = address;
  if (caFile !== undefined) requireCa(caFile);
  let dialled: Server | undefined;
  let lookedAtMs = 0;
  let said: string | undefined;
  const reconnectToServer = (pool: readonly Server[]) => {
    const [next, nowMs] = [pool[0], Date.now()];
    dialled = next;
    const refused = next !== undefined && next.lastConnect > 0 && nowMs - next.lastConnect < REDIAL_MS;
    if (refused && nowMs - lookedAtMs >= LOOK_EVERY_MS) {
      lookedAtMs = nowMs;
      void troubleWith(next, address).then((line) => {
        if (line !== undefined && line !== said) onTrouble(line);
        said = line;
      });
    }
    return null;
  };
  if (caFile === undefined && !demandsTls(address)) return { reconnectToServer };
  const tls = {
    ...(caFile === undefined ? {} : { caFile }),
    // Node would check an address as "localhost" here: nats.js hands it a socket and no host.
    checkServerIdentity: (_host: string, certificate: PeerCertificate) => identityProblem(dialled, certificate),
  };
  return { tls, reconnectToServer };
}

/** Why a connection failed, if TLS is the reason, in a sentence for people; else undefined. `where` is the URL without secrets. */
export function tlsTrouble(error: unknown, where: string, address: TlsAddress): string | undefined {
  const { code = "", message = "", cert, cause } = error as Partial<NodeJS.ErrnoException> & { cert?: PeerCertificate };
  const { caFile } = address;
  if (message.includes(NO_TLS_OFFERED))
    return `the bus at ${where} offers no TLS and ${caFile ?? "its URL"} asks for it: nothing was sent to it; turn TLS on there, or, if the bus is meant to be in clear, unset TIERMESH_NATS_CA and write nats:// in its URL`;
  if (message === EARLY_BYTES)
    return `the connection to the bus at ${where} was given up: ${EARLY_BYTES}; someone between here and there may be tampering with it`;
  if (code === "CERT_HAS_EXPIRED")
    return `the certificate of the bus at ${where} has expired (or this machine's clock is wrong); renew it there and restart the bus`;
  if (code === "CERT_NOT_YET_VALID")
    return `the certificate of the bus at ${where} is not valid yet: compare the clocks of both machines`;
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID")
    return `the certificate of the bus at ${where} is for another host (${cert?.subjectaltname ?? "none"}); use a name or address that it covers, or have it issued with this one`;
  if (UNKNOWN_AUTHORITY.has(code))
    return caFile === undefined
      ? `the bus at ${where} wants TLS and no authority that this machine knows has issued its certificate; set TIERMESH_NATS_CA to the file of the bus's authority (ca.pem)`
      : `the certificate of the bus at ${where} was not issued by the authority in ${caFile}; set TIERMESH_NATS_CA to the file of the bus's authority (ca.pem)`;
  if (code === "EPROTO" || code.startsWith("ERR_SSL_"))
    return `the TLS handshake with the bus at ${where} failed (${code}); see the bus's log`;
  return cause === undefined ? undefined : tlsTrouble(cause, where, address);
}

function demandsTls({ url }: TlsAddress): boolean {
  return url.split(",").some((each) => each.trim().startsWith("tls://"));
}

function requireCa(caFile: string): void {
  const refuse = (why: string) =>
    new MeshError("bad_config", `${caFile} ${why}; TIERMESH_NATS_CA names the file of the bus's authority (ca.pem)`, {
      field: "caFile",
    });
  let pem: Buffer;
  try {
    pem = readFileSync(caFile);
  } catch (error) {
    throw refuse(`cannot be read (${(error as NodeJS.ErrnoException).code ?? "unknown reason"})`);
  }
  try {
    new X509Certificate(pem);
  } catch {
    throw refuse("holds no certificate in PEM");
  }
}

/** A server that was learnt from the cluster goes by its address, or by the name of the one that told of it. */
function identityProblem(server: Server | undefined, certificate: PeerCertificate): Error | undefined {
  if (server === undefined) return new Error("no server was dialled");
  const problem = checkServerIdentity(server.hostname, certificate);
  return problem !== undefined && server.tlsName !== "" ? checkServerIdentity(server.tlsName, certificate) : problem;
}

/** Looks at a server as a client would, without introducing itself; a line when TLS is what stands in the way. */
async function troubleWith(server: Server, address: TlsAddress): Promise<string | undefined> {
  // What goes wrong is told by what is awaited; an error that comes later has nobody to tell.
  const socket = dial(server.port, server.hostname).on("error", ignore);
  try {
    await handshake(socket, server, address);
    return undefined;
  } catch (error) {
    return tlsTrouble(error, server.listen, address);
  } finally {
    socket.destroy();
  }
}

async function handshake(socket: Socket, server: Server, address: TlsAddress): Promise<void> {
  const { caFile } = address;
  const greeting = await greetingOf(socket);
  if (!greeting.includes("\r\n")) return;
  if (!/"tls_(required|available)":true/.test(greeting.toString())) {
    if (caFile !== undefined || demandsTls(address)) throw new Error(NO_TLS_OFFERED);
    return;
  }
  refuseEarlyBytes(greeting);
  const name = server.tlsName || server.hostname;
  const tls = secure({
    socket,
    ...(caFile === undefined ? {} : { ca: await readFile(caFile) }),
    ...(isIP(name) === 0 ? { servername: name } : {}),
    rejectUnauthorized: true,
    checkServerIdentity: (_host, certificate) => identityProblem(server, certificate),
  });
  tls.on("error", ignore);
  await once(tls, "secureConnect", { signal: AbortSignal.timeout(LOOK_LIMIT_MS) });
}

/** What the server says first, up to the end of a line or of the connection. */
async function greetingOf(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.setTimeout(LOOK_LIMIT_MS, () => socket.destroy());
  for await (const chunk of on(socket, "data", { close: ["end", "close"] })) {
    chunks.push(...(chunk as Buffer[]));
    if (chunks.at(-1)?.includes("\r\n") === true) break;
  }
  return Buffer.concat(chunks);
}

function ignore(): void {}
