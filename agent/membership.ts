import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MeshError } from "../bus-schemas/index.ts";
import { isInvitation, readJoinToken, type JoinToken } from "../service/access/join-token.ts";
import { keptNkey, userNkeyOf, type UserNkey } from "../service/access/nkey-file.ts";
import { BASE_ENV, busVariables, type Environment } from "../service/config.ts";
import { askToBeLetIn } from "./invitation.ts";
import { readMember, writeMember, type Member } from "./member-file.ts";
import { asRegistry, tryKey } from "./registry-call.ts";

export { readMember, type Member } from "./member-file.ts";

/**
 * Joins by a token, or asks by an invitation (invitation.ts, `waiting` of the answer): makes this machine's key here, tells the broker its public half, and keeps what an agent needs in
 * `<stateDir>/agent`. Safe to call again when it was cut off in between.
 * @param nodeId the name to ask under by an invitation; a token has one
 * @throws MeshError `bad_config` when the token is none, `unauthorized` when it is not good any more, `bus_unavailable`
 */
export async function joinMesh(tokenText: string, stateDir: string, nodeId?: string): Promise<Member> {
  if (isInvitation(tokenText)) return askToBeLetIn(tokenText, stateDir, nodeId);
  const token = readJoinToken(tokenText);
  const folder = join(stateDir, "agent", token.node);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const caFile = token.ca_pem === null ? null : join(folder, "bus-ca.pem");
  // Key and authority under other names until the broker knows us: what works is not replaced by what does not.
  const freshCa = caFile === null ? null : `${caFile}.joining`;
  if (freshCa !== null) writeFileSync(freshCa, token.ca_pem ?? "");
  const fresh = join(folder, "bus.nk.joining");
  const nkey = keptNkey(fresh);
  const ask = () => askToJoin(token, nkey, freshCa);
  // Once more after a cut: it may have been a restart of the bus.
  if (!(await ask()) && !(await ask())) await checkMember(token, nkey, freshCa);
  const nkeyFile = join(folder, "bus.nk");
  renameSync(fresh, nkeyFile);
  if (caFile !== null && freshCa !== null) renameSync(freshCa, caFile);
  const { node: node_id, layer, cell, urls } = token;
  const member: Member = { v: 1, node_id, layer, cell, urls, nkey_file: nkeyFile, ca_file: caFile, waiting: null };
  writeMember(stateDir, member);
  return member;
}

/**
 * The variables of an agent on a machine that joined: its bus, key, name and layer, unless they name another bus.
 * @throws MeshError `bad_config` when they contradict the membership
 */
export function asMember(env: Environment, stateDir: string): Environment {
  if ((env[BASE_ENV.natsUrl] ?? "") !== "") return env;
  const member = readMember(stateDir);
  if (member === undefined) return env;
  const said = { TIERMESH_NODE_ID: member.node_id, TIERMESH_LAYER: member.layer, TIERMESH_CELL: member.cell };
  for (const [variable, value] of Object.entries(said)) {
    const other = env[variable] ?? "";
    if (other !== "" && other !== value)
      throw new MeshError(
        "bad_config",
        `${variable}: this machine joined as ${member.node_id}, ${member.layer}, cell ${member.cell}; to change that, join again by a new token`,
        { field: variable },
      );
  }
  const bus = busVariables({
    url: member.urls.join(","),
    nkeyFile: member.nkey_file,
    caFile: member.ca_file ?? undefined,
    cell: member.cell,
  });
  return { ...env, ...said, ...bus };
}

/** @returns false when the bus does not take the token, or its answer did not come. @throws MeshError the keeper's refusal */
async function askToJoin(token: JoinToken, nkey: UserNkey, caFile: string | null): Promise<boolean> {
  try {
    await asRegistry(token, userNkeyOf(token.seed, "the token"), caFile, ({ registryJoin }) => ({
      subject: registryJoin(token.node),
      body: { public_key: nkey.publicKey },
    }));
    return true;
  } catch (error) {
    if (error instanceof MeshError && error.code !== "unauthorized") throw error;
    return false;
  }
}

/** An earlier try may have been answered, though nobody heard it: then the broker knows the key. */
async function checkMember(token: JoinToken, nkey: UserNkey, caFile: string | null): Promise<void> {
  try {
    await tryKey(token, nkey, caFile);
  } catch (cause) {
    if (!(cause instanceof MeshError && cause.code === "unauthorized")) throw cause;
    throw new MeshError(
      "unauthorized",
      `the bus does not take this token (any more): it was used, replaced or revoked, or is older than ${new Date(token.expires_unix_ms).toISOString()}; ask for a new one: tiermesh node add ${token.node} --replace`,
      { cause },
    );
  }
}
