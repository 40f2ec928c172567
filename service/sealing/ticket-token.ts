import { createHash, createPublicKey, generateKeyPairSync, sign, verify, type KeyObject } from "node:crypto";
import { MAX_TICKET_CHARS, MeshError, Ticket, parseOrThrow, type RouterKey } from "../../bus-schemas/index.ts";

/** What comes before the 32 bytes of an Ed25519 public key in its SubjectPublicKeyInfo (RFC 8410). */
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");

/** Name of a public key: the first digits of its SHA-256, so that a name stands for one key. */
export function kidOf(publicKey: string): string {
  return createHash("sha256").update(publicKey).digest("base64url").slice(0, 16);
}

/** A router's signing key: made at its start, never on disk. */
export class TicketSigner {
  readonly kid: string;
  /** 32 bytes, base64url. */
  readonly publicKey: string;
  readonly #privateKey: KeyObject;

  constructor() {
    const { publicKey, privateKey } = generateKeyPairSync("ed25519");
    this.#privateKey = privateKey;
    this.publicKey = publicKey.export({ format: "der", type: "spki" }).subarray(-32).toString("base64url");
    this.kid = kidOf(this.publicKey);
  }

  sign(ticket: Ticket): string {
    const payload = Buffer.from(JSON.stringify(ticket)).toString("base64url");
    return `${payload}.${sign(null, Buffer.from(payload), this.#privateKey).toString("base64url")}`;
  }
}

/** A public key that checks tickets. @throws MeshError `bad_request` when it is none. */
export function ticketVerifier({ public_key: publicKey }: RouterKey): (token: string) => boolean {
  let key: KeyObject;
  try {
    const der = Buffer.concat([SPKI_PREFIX, Buffer.from(publicKey, "base64url")]);
    key = createPublicKey({ key: der, format: "der", type: "spki" });
  } catch (cause) {
    throw new MeshError("bad_request", "public_key: not an Ed25519 key", { field: "public_key", cause });
  }
  return (token) => {
    const [payload = "", signature = ""] = token.split(".");
    return verify(null, Buffer.from(payload), key, Buffer.from(signature, "base64url"));
  };
}

/**
 * What a ticket says; whether its router says so is `ticketVerifier`'s to tell.
 * @throws MeshError `ticket_rejected` when it is no ticket.
 */
export function readTicket(token: string): Ticket {
  const [payload = "", signature, ...more] = token.length > MAX_TICKET_CHARS ? [] : token.split(".");
  if (signature === undefined || more.length > 0) throw malformed();
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(payload, "base64url").toString("utf8"));
  } catch (cause) {
    throw malformed(cause);
  }
  return parseOrThrow(Ticket, value, "ticket_rejected");
}

function malformed(cause?: unknown): MeshError {
  return new MeshError("ticket_rejected", "Mesh-Ticket: not a ticket", { field: "ticket", cause });
}
