import {
  MeshError,
  SHARED_STRUCTURES,
  STRUCTURES_VERSION,
  StructureTable,
  versionOfStructures,
} from "../bus-schemas/index.ts";
import type { Bus } from "./bus.ts";
import { learnStructures, structuresVersion } from "./codec.ts";
import { newId } from "./ids.ts";

/** By version: what is being asked, or was answered. */
const asked = new Map<string, Promise<boolean>>();

/** Answers peers of another build that ask for our table of shared structures. */
export function serveStructures(bus: Bus): void {
  bus.listen(
    bus.subjects.codec(STRUCTURES_VERSION),
    (msg) => void msg.respond(JSON.stringify(SHARED_STRUCTURES)),
    "codec",
  );
}

/**
 * After `codec_unknown`: asks for the sender's table; messages of that build decode from then on. The table is checked before use. One that
 * nobody serves is asked for again at its next message.
 * @returns whether it is known now; never rejects
 */
export function learnFromPeer(bus: Bus, contentType: string | undefined): Promise<boolean> {
  const version = contentType === undefined ? undefined : structuresVersion(contentType);
  if (version === undefined) return Promise.resolve(false);
  const learning = asked.get(version) ?? ask(bus, version);
  asked.set(version, learning);
  return learning;
}

async function ask(bus: Bus, version: string): Promise<boolean> {
  try {
    // All roles hear the question, so it names an inbox that says nothing of where else we await answers: those are numbered.
    const reply = await bus.nc.request(bus.subjects.codec(version), undefined, {
      timeout: 2000,
      noMux: true,
      reply: `${bus.inbox.slice(0, bus.inbox.lastIndexOf("."))}.${newId()}`,
    });
    const table = StructureTable.safeParse(reply.json());
    if (!table.success || versionOfStructures(table.data) !== version)
      throw new MeshError("bad_request", "a peer's structure table is not the one asked for");
    learnStructures(version, table.data);
    return true;
  } catch {
    asked.delete(version);
    return false;
  }
}
