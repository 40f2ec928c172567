import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { MeshError, NodeId, parseOrThrow, type NodeEntry } from "../bus-schemas/index.ts";
import { keyFingerprint } from "../service/access/fingerprint.ts";
import { readInviteToken, type InviteToken } from "../service/access/join-token.ts";
import { keptNkey, readNkeyFile, userNkeyOf } from "../service/access/nkey-file.ts";
import { hostToken } from "../service/host-token.ts";
import type { Log } from "../service/log.ts";
import { pause } from "../service/loop.ts";
import { readMember, writeMember, type Member } from "./member-file.ts";
import { asRegistry, isKnown } from "./registry-call.ts";

/** How often a machine that waits asks whether it is let in, milliseconds: at first while somebody sits there, then for days. */
const ASK_AGAIN_MS = { first: 2000, limit: 60_000 };
/** One that an operator refused asks this often, milliseconds. */
const REFUSED_ASK_MS = 600_000;

/**
 * Asks to be let in by an invitation (ADR 0026): makes this machine's key, and remembers in `<stateDir>/agent` that it asked. Who asked
 * has no rights yet: `waiting` of the answer is null only when an operator approved it. Safe to call again; a machine that is in the mesh
 * stays as it is.
 * @param nodeId under which name; default: that under which it has asked, else the machine's own
 * @throws MeshError `bad_config` when the invitation is none, `conflict` when the name is taken, `unauthorized` or `forbidden` when the
 * invitation is over or an operator said no, `bus_unavailable`
 */
export async function askToBeLetIn(text: string, stateDir: string, nodeId?: string): Promise<Member> {
  const token = readInviteToken(text);
  const known = readMember(stateDir);
  if (known !== undefined && known.waiting === null && (await isKnown(known))) return known;
  const before = (known?.waiting ?? null) === null ? hostToken() : known?.node_id;
  const node = parseOrThrow(NodeId, nodeId ?? before, "bad_config");
  const folder = join(stateDir, "agent", node);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const caFile = token.ca_pem === null ? null : join(folder, "bus-ca.pem");
  if (caFile !== null) writeFileSync(caFile, token.ca_pem ?? "");
  const nkeyFile = join(folder, "bus.nk");
  const asked = known !== undefined && known.waiting !== null && known.nkey_file === nkeyFile;
  // Under another name until the keeper has heard of it: of a key that was taken back nothing is made good by asking with it.
  const own = asked ? nkeyFile : `${nkeyFile}.asking`;
  const entry = await ask(token, node, keptNkey(own).publicKey, caFile);
  if (!asked) renameSync(own, nkeyFile);
  const { urls, cell } = token;
  const { layer } = entry;
  const waiting = entry.state === "joined" ? null : text.trim();
  const member: Member = { v: 1, node_id: node, layer, cell, urls, nkey_file: nkeyFile, ca_file: caFile, waiting };
  writeMember(stateDir, member);
  return member;
}

/** The key of a machine that waits, for its operator to compare. */
export function fingerprintOf({ nkey_file: file }: Pick<Member, "nkey_file">): string {
  return keyFingerprint(readNkeyFile(file).publicKey);
}

/** Returns when this machine is let in; at once when it is, or has never asked. Ends early when `signal` aborts. */
export async function untilLetIn(stateDir: string, log: Log, signal: AbortSignal): Promise<void> {
  let waitMs = ASK_AGAIN_MS.first;
  for (let said = ""; !signal.aborted;) {
    const member = readMember(stateDir);
    if (member === undefined || member.waiting === null) return;
    const { node_id: node } = member;
    const say = (line: string, error?: unknown) => {
      if (line !== said) log.info({ node, ...(error === undefined ? {} : { err: error }) }, line);
      said = line;
    };
    try {
      const asked = await askToBeLetIn(member.waiting, stateDir);
      if (asked.waiting === null) return say("an operator let this machine in");
      const compare = `tiermesh node approve ${node}, fingerprint ${fingerprintOf(asked)}`;
      say(`waits for an operator: ${compare}`);
    } catch (error) {
      // The invitation may be over, and this machine let in meanwhile.
      if (await isKnown(member).catch(() => false)) {
        writeMember(stateDir, { ...member, waiting: null });
        return say("an operator let this machine in");
      }
      const { code, message } = MeshError.from(error);
      say(`cannot be let in now: ${message}`, error);
      if (code === "forbidden") waitMs = REFUSED_ASK_MS;
    }
    await pause(waitMs, signal);
    waitMs = Math.min(waitMs * 1.5, Math.max(waitMs, ASK_AGAIN_MS.limit));
  }
}

async function ask(token: InviteToken, node: string, publicKey: string, caFile: string | null): Promise<NodeEntry> {
  const body = { node_id: node, public_key: publicKey, hostname: hostname().slice(0, 200) || null };
  const reply = await asRegistry(token, userNkeyOf(token.seed, "the invitation"), caFile, (subjects) => ({
    subject: subjects.registryAsk,
    body,
  }));
  const entry = reply.entries.find(({ node_id }) => node_id === node);
  if (entry === undefined) throw new MeshError("internal", "the keeper's answer holds no entry");
  if (entry.state === "revoked")
    throw new MeshError(
      "forbidden",
      `an operator refused ${node}${entry.reason === null ? "" : ` (${entry.reason})`}; only tiermesh node add ${node} lets it in now`,
    );
  return entry;
}
