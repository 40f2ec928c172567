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

/** So that people, and scanners for secrets, see what it is. */
const PREFIX = "tmjoin_";
const MAX_CHARS = 32_000;

export function writeJoinToken(token: JoinToken): string {
  return PREFIX + Buffer.from(JSON.stringify(token)).toString("base64url");
}

/** @throws MeshError `bad_config` that says what is wrong with it and quotes nothing. */
export function readJoinToken(text: string): JoinToken {
  const trimmed = text.trim();
  if (!trimmed.startsWith(PREFIX) || trimmed.length > MAX_CHARS)
    throw bad(`it does not begin with ${PREFIX}; \`tiermesh node add\` prints one`);
  let body: unknown;
  try {
    body = JSON.parse(Buffer.from(trimmed.slice(PREFIX.length), "base64url").toString("utf8"));
  } catch {
    throw bad("it was cut short or changed; copy the whole line");
  }
  const token = JoinToken.safeParse(body);
  if (!token.success) throw bad(`its ${String(token.error.issues[0]?.path[0] ?? "content")} is not valid`);
  return token.data;
}

function bad(why: string): MeshError {
  return new MeshError("bad_config", `the join token is not good: ${why}`, { field: "join" });
}
