import { MeshError, RegistryReply, parseOrThrow, type Subjects } from "../bus-schemas/index.ts";
import type { JoinToken } from "../service/access/join-token.ts";
import { readNkeyFile, type UserNkey } from "../service/access/nkey-file.ts";
import { connectBus, type Bus } from "../service/bus.ts";
import { createLog } from "../service/log.ts";
import type { Member } from "./member-file.ts";

/** The keeper answers within this time, milliseconds. */
const JOIN_LIMIT_MS = 10_000;

const quiet = createLog("join", "silent");

/** One question to the keeper, by the key of a token. @throws MeshError its refusal, or that it cannot be asked */
export async function asRegistry(
  token: Pick<JoinToken, "urls" | "cell">,
  nkey: UserNkey,
  caFile: string | null,
  question: (subjects: Subjects) => { subject: string; body: object },
): Promise<RegistryReply> {
  const bus = await connectBus("join", { ...addressOf(token, caFile), nkey }, quiet);
  let reply: RegistryReply;
  try {
    const { subject, body } = question(bus.subjects);
    const asked = bus.nc.request(subject, JSON.stringify(body), { timeout: JOIN_LIMIT_MS });
    const message = await Promise.race([asked, cutOff(bus)]);
    reply = parseOrThrow(RegistryReply, message.json(), "internal");
  } finally {
    await bus.nc.close();
  }
  if (reply.error !== null) throw MeshError.fromWire(reply.error);
  return reply;
}

/** Whether the bus takes this machine's key. @throws MeshError when it cannot be asked */
export async function isKnown({ urls, cell, nkey_file, ca_file }: Member): Promise<boolean> {
  try {
    await tryKey({ urls, cell }, readNkeyFile(nkey_file), ca_file);
    return true;
  } catch (error) {
    if (error instanceof MeshError && (error.code === "unauthorized" || error.code === "bad_config")) return false;
    throw error;
  }
}

/** Whether the bus takes this key. @throws MeshError `unauthorized` when it does not, or why it cannot be asked */
export async function tryKey(
  token: Pick<JoinToken, "urls" | "cell">,
  nkey: UserNkey,
  caFile: string | null,
): Promise<void> {
  const bus = await connectBus("join", { ...addressOf(token, caFile), nkey }, quiet);
  await bus.nc.close();
}

/** Rejects when the connection is lost: the broker cuts the user of a token that another has just used. */
async function cutOff({ nc }: Bus): Promise<never> {
  for await (const { type } of nc.status()) if (type === "disconnect") break;
  throw new MeshError("unauthorized", "the bus cut the connection of the token");
}

function addressOf({ urls, cell }: Pick<JoinToken, "urls" | "cell">, caFile: string | null) {
  return { url: urls.join(","), cell, ...(caFile === null ? {} : { caFile }) };
}
