import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { Layer, MeshError, NodeId, RegistryReply, SubjectToken, parseOrThrow } from "../bus-schemas/index.ts";
import { readJoinToken, type JoinToken } from "../service/access/join-token.ts";
import { keptNkey, userNkeyOf, type UserNkey } from "../service/access/nkey-file.ts";
import { connectBus, type Bus } from "../service/bus.ts";
import { BASE_ENV, busVariables, type Environment } from "../service/config.ts";
import { createLog } from "../service/log.ts";

/** What a machine that joined knows of its mesh; the key itself is in a file of its own. */
const Member = z.object({
  v: z.literal(1),
  node_id: NodeId,
  layer: Layer,
  cell: SubjectToken,
  urls: z.array(z.string()).min(1),
  nkey_file: z.string().min(1),
  /** Authority of the bus's certificates; null where it speaks without TLS. */
  ca_file: z.string().nullable(),
});
export type Member = z.infer<typeof Member>;

/** The keeper answers within this time, milliseconds. */
const JOIN_LIMIT_MS = 10_000;

/**
 * Joins by a token: makes this machine's key here, tells the broker its public half, and keeps what an agent needs in
 * `<stateDir>/agent`. Safe to call again when it was cut off in between.
 * @throws MeshError `bad_config` when the token is none, `unauthorized` when it is not good any more, `bus_unavailable`
 */
export async function joinMesh(tokenText: string, stateDir: string): Promise<Member> {
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
  const member: Member = { v: 1, node_id, layer, cell, urls, nkey_file: nkeyFile, ca_file: caFile };
  const file = memberFile(stateDir);
  writeFileSync(`${file}.new`, JSON.stringify(member, null, 2), { mode: 0o600 });
  renameSync(`${file}.new`, file);
  return member;
}

/** The membership of this machine, or undefined. @throws MeshError `bad_config` naming the file when it is damaged */
export function readMember(stateDir: string): Member | undefined {
  const file = memberFile(stateDir);
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
  try {
    return Member.parse(JSON.parse(text));
  } catch (cause) {
    throw new MeshError("bad_config", `${file} is damaged; join again with a new token (tiermesh node add)`, { cause });
  }
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

function memberFile(stateDir: string): string {
  return join(stateDir, "agent", "member.json");
}

/** @returns false when the bus does not take the token, or its answer did not come. @throws MeshError the keeper's refusal */
async function askToJoin(token: JoinToken, nkey: UserNkey, caFile: string | null): Promise<boolean> {
  let reply: RegistryReply;
  try {
    const bus = await connectBus(
      "join",
      { ...addressOf(token, caFile), nkey: userNkeyOf(token.seed, "the token") },
      quiet,
    );
    try {
      const body = JSON.stringify({ public_key: nkey.publicKey });
      const asked = bus.nc.request(bus.subjects.registryJoin(token.node), body, { timeout: JOIN_LIMIT_MS });
      const message = await Promise.race([asked, cutOff(bus)]);
      reply = parseOrThrow(RegistryReply, message.json(), "internal");
    } finally {
      await bus.nc.close();
    }
  } catch (error) {
    if (error instanceof MeshError && error.code !== "unauthorized") throw error;
    return false;
  }
  if (reply.error !== null) throw MeshError.fromWire(reply.error);
  return true;
}

/** Rejects when the connection is lost: the broker cuts the user of a token that another has just used. */
async function cutOff({ nc }: Bus): Promise<never> {
  for await (const { type } of nc.status()) if (type === "disconnect") break;
  throw new MeshError("unauthorized", "the bus cut the connection of the token");
}

/** An earlier try may have been answered, though nobody heard it: then the broker knows the key. */
async function checkMember(token: JoinToken, nkey: UserNkey, caFile: string | null): Promise<void> {
  try {
    const bus = await connectBus("join", { ...addressOf(token, caFile), nkey }, quiet);
    await bus.nc.close();
  } catch (cause) {
    if (!(cause instanceof MeshError && cause.code === "unauthorized")) throw cause;
    throw new MeshError(
      "unauthorized",
      `the bus does not take this token (any more): it was used, replaced or revoked, or is older than ${new Date(token.expires_unix_ms).toISOString()}; ask for a new one: tiermesh node add ${token.node} --replace`,
      { cause },
    );
  }
}

const quiet = createLog("join", "silent");

function addressOf({ urls, cell }: JoinToken, caFile: string | null) {
  return { url: urls.join(","), cell, ...(caFile === null ? {} : { caFile }) };
}
