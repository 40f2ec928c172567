import { MeshError, RegistryReply, parseOrThrow, type Layer, type NodeEntry } from "../bus-schemas/index.ts";
import type { MeshClient } from "../client/index.ts";
import { newUserNkey } from "../service/access/nkey-file.ts";
import { writeInviteToken, writeJoinToken } from "../service/access/join-token.ts";
import { isAsking } from "./bus/asks.ts";
import { operator } from "./policy/source.ts";

/** The broker's keeper answers within this time, milliseconds: it writes, and the broker reads its accounts anew. */
const ANSWER_LIMIT_MS = 8000;

export interface Added {
  entry: NodeEntry;
  /** Secret, good once. */
  token: string;
  urls: string[];
}

/** Lets a node in: makes its join token. @throws MeshError `conflict`, or `bus_unavailable` when no keeper answers */
export async function addNode(
  client: MeshClient,
  nodeId: string,
  layer: Layer,
  { hours, replace, url }: { hours: number; replace: boolean; url?: string | undefined },
): Promise<Added> {
  const { bus } = client;
  // The secret half is made here and goes into the token: it never travels on the bus.
  const nkey = newUserNkey();
  const body = { node_id: nodeId, layer, join_key: nkey.publicKey, hours, replace, by: operator() };
  const { entries, urls, ca_pem } = await ask(client, bus.subjects.registryAdd, body);
  const entry = theOne(entries);
  const cell = bus.subjects.prefix.slice("mesh.".length);
  const token = writeJoinToken({
    v: 1,
    urls: url === undefined ? urls : [url],
    cell,
    node: nodeId,
    layer,
    seed: new TextDecoder().decode(nkey.seed),
    expires_unix_ms: entry.join_expires_unix_ms ?? 0,
    ca_pem,
  });
  return { entry, token, urls };
}

/**
 * Makes an invitation, which takes the place of the one that is out; null ends that.
 * @throws MeshError `bus_unavailable` when no keeper answers
 */
export async function invite(
  client: MeshClient,
  wanted: { layer: Layer; hours: number; url?: string | undefined } | null,
): Promise<{ token: string; expiresUnixMs: number }> {
  const { bus } = client;
  const nkey = newUserNkey();
  const invitation = wanted === null ? null : { invite_key: nkey.publicKey, layer: wanted.layer, hours: wanted.hours };
  const { urls, ca_pem } = await ask(client, bus.subjects.registryInvite, { invitation, by: operator() });
  const expiresUnixMs = Math.round(Date.now() + (wanted?.hours ?? 0) * 3_600_000);
  const token = writeInviteToken({
    v: 1,
    urls: wanted?.url === undefined ? urls : [wanted.url],
    cell: bus.subjects.prefix.slice("mesh.".length),
    seed: new TextDecoder().decode(nkey.seed),
    expires_unix_ms: expiresUnixMs,
    ca_pem,
  });
  return { token, expiresUnixMs };
}

/** A machine that asks to be let in. @throws MeshError `not_found` when nobody asks under this name */
export async function findAsk(client: MeshClient, nodeId: string): Promise<NodeEntry & { public_key: string }> {
  const entry = (await listNodes(client)).find(({ node_id }) => node_id === nodeId);
  if (entry === undefined || entry.public_key === null || !isAsking(entry))
    throw new MeshError("not_found", `no machine asks as ${nodeId}; see tiermesh node list`, { field: "name" });
  return { ...entry, public_key: entry.public_key };
}

/** Lets the machine with this key in, or refuses it. @throws MeshError `conflict` when another one asks under the name by now */
export async function decideAsk(
  client: MeshClient,
  nodeId: string,
  publicKey: string,
  { approve, layer, reason }: { approve: boolean; layer?: Layer | undefined; reason?: string | undefined },
): Promise<NodeEntry> {
  const body = {
    node_id: nodeId,
    public_key: publicKey,
    approve,
    ...(layer === undefined ? {} : { layer }),
    by: operator(),
    reason: reason ?? null,
  };
  return theOne((await ask(client, client.bus.subjects.registryDecide, body)).entries);
}

/** Lets somebody read events by a durable consumer of this name. @throws MeshError `conflict`, `bad_request`, `bus_unavailable` */
export async function addReader(
  client: MeshClient,
  reader: { name: string; public_key: string; reads: string[]; from: "start" | "now" },
): Promise<{ entry: NodeEntry; urls: string[]; caPem: string | null }> {
  const { entries, urls, ca_pem } = await ask(client, client.bus.subjects.registryReader, {
    ...reader,
    by: operator(),
  });
  return { entry: theOne(entries), urls, caPem: ca_pem };
}

/** Takes a node's key away: when this resolves its connections are cut. @throws MeshError `not_found`, `bus_unavailable` */
export async function revokeNode(client: MeshClient, nodeId: string, reason: string | undefined): Promise<NodeEntry> {
  const body = { node_id: nodeId, by: operator(), reason: reason ?? null };
  return theOne((await ask(client, client.bus.subjects.registryRevoke, body)).entries);
}

/** Every node that was ever let in. @throws MeshError `bus_unavailable` */
export async function listNodes(client: MeshClient): Promise<NodeEntry[]> {
  const { entries } = await ask(client, client.bus.subjects.registryList, {});
  return entries.toSorted((a, b) => a.node_id.localeCompare(b.node_id));
}

async function ask({ bus }: MeshClient, subject: string, body: object): Promise<RegistryReply> {
  let reply: RegistryReply;
  try {
    const message = await bus.nc.request(subject, JSON.stringify(body), { timeout: ANSWER_LIMIT_MS });
    reply = parseOrThrow(RegistryReply, message.json(), "internal");
  } catch (cause) {
    if (cause instanceof MeshError) throw cause;
    throw new MeshError(
      "bus_unavailable",
      "no keeper of the bus answers: either this bus is none that tiermesh runs, or your key is no operator's",
      { cause },
    );
  }
  if (reply.error !== null) throw MeshError.fromWire(reply.error);
  return reply;
}

function theOne([entry]: NodeEntry[]): NodeEntry {
  if (entry === undefined) throw new MeshError("internal", "the keeper's answer holds no entry");
  return entry;
}
