import { z } from "zod";
import { Layer, MeshError, NodeId, SubjectToken, UnixMs } from "../../bus-schemas/index.ts";

/** What a join token says; its seed is a secret that is good for one join. */
export const JoinToken = z.object({
  v: z.literal(1),
  /** Addresses of the bus. */
  urls: z.array(z.string().min(1).max(300)).min(1).max(16),
  cell: SubjectToken,
  node: NodeId,
  layer: Layer,
  /** Of the token's own bus user. */
  seed: z.string().regex(/^SU[A-Z2-7]{56}$/),
  expires_unix_ms: UnixMs,
  /** Authority of the bus's certificates, PEM; null when the bus speaks without TLS. */
  ca_pem: z.string().max(20_000).nullable(),
});
export type JoinToken = z.infer<typeof JoinToken>;

/** What an invitation says: many machines share it, and each only asks by it. */
export const InviteToken = JoinToken.omit({ node: true, layer: true });
export type InviteToken = z.infer<typeof InviteToken>;

/** So that people, and scanners for secrets, see what it is. */
const PREFIX = "tmjoin_";
const INVITE_PREFIX = "tminvite_";
const MAX_CHARS = 32_000;

export function writeJoinToken(token: JoinToken): string {
  return PREFIX + Buffer.from(JSON.stringify(token)).toString("base64url");
}

export function writeInviteToken(token: InviteToken): string {
  return INVITE_PREFIX + Buffer.from(JSON.stringify(token)).toString("base64url");
}

/** Whether it is an invitation, as far as one can see. */
export function isInvitation(text: string): boolean {
  return text.trimStart().startsWith(INVITE_PREFIX);
}

/** @throws MeshError `bad_config` that says what is wrong with it and quotes nothing. */
export function readJoinToken(text: string): JoinToken {
  return read(text, PREFIX, "`tiermesh node add` prints one", JoinToken);
}

/** @throws MeshError `bad_config` that says what is wrong with it and quotes nothing. */
export function readInviteToken(text: string): InviteToken {
  return read(text, INVITE_PREFIX, "`tiermesh node invite` prints one", InviteToken);
}

function read<T extends z.ZodType>(text: string, prefix: string, whoPrints: string, schema: T): z.output<T> {
  const trimmed = text.trim();
  if (!trimmed.startsWith(prefix) || trimmed.length > MAX_CHARS)
    throw bad(`it does not begin with ${prefix}; ${whoPrints}`);
  let body: unknown;
  try {
    body = JSON.parse(Buffer.from(trimmed.slice(prefix.length), "base64url").toString("utf8"));
  } catch {
    throw bad("it was cut short or changed; copy the whole line");
  }
  const token = schema.safeParse(body);
  if (!token.success) throw bad(`its ${String(token.error.issues[0]?.path[0] ?? "content")} is not valid`);
  return token.data;
}

function bad(why: string): MeshError {
  return new MeshError("bad_config", `the join token is not good: ${why}`, { field: "join" });
}
