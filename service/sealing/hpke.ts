import { CipherSuite, type KeyPair, type SenderContext } from "hpke";
import { MeshError } from "../../bus-schemas/index.ts";
import { FrameKey } from "./frame-key.ts";
import { aes256Gcm, dhkemX25519, hkdfSha256, type X25519Key } from "./primitives.ts";

/** RFC 9180 HPKE in base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM (ADR 0011). */
const suite = new CipherSuite(dhkemX25519, hkdfSha256, aes256Gcm);

export type NodeKeyPair = KeyPair<X25519Key>;

/** Whom a job is sealed to. A key that another node announces as its own opens nothing: the names are bound in. */
export interface Recipient {
  cell: string;
  node: string;
  kid: string;
}

type Addressee = Recipient & { publicKey: string };

const utf8 = new TextEncoder();
const ANSWER_LABEL = utf8.encode("tiermesh answer");

/** Makes a key pair for a node; the private half cannot leave this process. */
export function newNodeKey(): Promise<NodeKeyPair> {
  return suite.GenerateKeyPair(false);
}

/** As base64url, for the heartbeat. */
export function publicText({ publicKey }: NodeKeyPair): string {
  return Buffer.from(publicKey.raw).toString("base64url");
}

/** All of a seal that does not depend on the job: an ephemeral key, the exchange with the recipient's, and what follows from it. */
interface Sender {
  /** HPKE's encapsulated key, base64url. */
  enc: string;
  ctx: SenderContext;
  answerKey: Uint8Array;
}

/** @throws Error when nothing can be sealed to this key. */
async function newSender(to: Addressee): Promise<Sender> {
  const key = await recipientKey(to.publicKey);
  const { encapsulatedSecret, ctx } = await suite.SetupSender(key, { info: infoOf(to) });
  const answerKey = await ctx.Export(ANSWER_LABEL, 32);
  return { enc: Buffer.from(encapsulatedSecret).toString("base64url"), ctx, answerKey };
}

/** Senders that nothing waited for, by addressee, oldest first. Each seals one job. */
const spares = new Map<string, Sender>();
const MAX_SPARES = 100;

/**
 * Makes a sender for the next job to a node that a job was just sealed to: four fifths of a seal's work, which that job
 * then does not wait for. Done after this turn of the event loop. Never throws.
 */
export function expectJob(to: Addressee): void {
  setImmediate(() => void makeSpare(to).catch(() => undefined));
}

async function makeSpare(to: Addressee): Promise<void> {
  const name = nameOf(to);
  if (spares.has(name)) return;
  spares.set(name, await newSender(to));
  const [oldest] = spares.keys();
  if (spares.size > MAX_SPARES && oldest !== undefined) spares.delete(oldest);
}

/** A sender that nobody else has. */
async function takeSender(to: Addressee): Promise<Sender> {
  const name = nameOf(to);
  const spare = spares.get(name);
  spares.delete(name);
  return spare ?? newSender(to);
}

function nameOf({ cell, node, kid, publicKey }: Addressee): string {
  return `${cell} ${node} ${kid} ${publicKey}`;
}

/**
 * Seals a job to a node's key.
 * @param ticket associated data: the body opens with this ticket only
 * @returns the body, HPKE's encapsulated key as base64url, and the key of the answer's frames
 * @throws MeshError `ticket_rejected` when nothing can be sealed to this key: it is no key, or one of low order.
 */
export async function sealJob(
  body: Uint8Array,
  to: Addressee,
  ticket: string,
  job: string,
): Promise<{ sealed: Uint8Array; enc: string; answer: FrameKey }> {
  try {
    const { ctx, enc, answerKey } = await takeSender(to);
    return { sealed: await ctx.Seal(body, utf8.encode(ticket)), enc, answer: new FrameKey(answerKey, job) };
  } catch (cause) {
    throw new MeshError("ticket_rejected", `the key of ${to.node} cannot be sealed to`, { field: "public_key", cause });
  }
}

/**
 * Opens what `sealJob` made.
 * @throws MeshError `bad_request` when a bit of it, of the ticket or of the recipient is another.
 */
export async function openJob(
  sealed: Uint8Array,
  enc: string,
  own: Recipient & { keys: NodeKeyPair },
  ticket: string,
  job: string,
): Promise<{ body: Uint8Array; answer: FrameKey }> {
  try {
    const ctx = await suite.SetupRecipient(own.keys, fromBase64url(enc), { info: infoOf(own) });
    const [body, answerKey] = await Promise.all([ctx.Open(sealed, utf8.encode(ticket)), ctx.Export(ANSWER_LABEL, 32)]);
    return { body, answer: new FrameKey(answerKey, job) };
  } catch (cause) {
    throw new MeshError("bad_request", "the job does not open: it was sealed to another key or changed on its way", {
      field: "Mesh-Seal",
      cause,
    });
  }
}

/** Keys of nodes that were sealed to lately: reading one costs as much as a third of sealing to it. */
const recipients = new Map<string, X25519Key>();
const MAX_RECIPIENTS = 1000;

/** @throws Error when it is no key. */
async function recipientKey(text: string): Promise<X25519Key> {
  const known = recipients.get(text);
  if (known !== undefined) return known;
  const key = (await suite.DeserializePublicKey(fromBase64url(text))) as X25519Key;
  if (recipients.size >= MAX_RECIPIENTS) recipients.clear();
  recipients.set(text, key);
  return key;
}

/** Names are subject tokens, so the text is unambiguous. */
function infoOf({ cell, node, kid }: Recipient): Uint8Array {
  return utf8.encode(`tiermesh job v1 ${cell} ${node} ${kid}`);
}

/** Strict: Node's own decoder skips what is no base64url, so that many texts would be one key. */
function fromBase64url(text: string): Uint8Array {
  const decoded = Buffer.from(text, "base64url");
  if (decoded.toString("base64url") !== text) throw new RangeError("not base64url");
  return new Uint8Array(decoded);
}
