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

const asked = new Set<string>();

/** Answers peers of another build that ask for our table of shared structures. */
export function serveStructures(bus: Bus): void {
  bus.listen(
    bus.subjects.codec(STRUCTURES_VERSION),
    (msg) => void msg.respond(JSON.stringify(SHARED_STRUCTURES)),
    "codec",
  );
}

/**
 * After `codec_unknown`: asks once, in the background, for the sender's table; its next message decodes. The table is
 * checked before use. A table that nobody serves is asked for again at its next message.
 */
export function learnFromPeer(bus: Bus, contentType: string | undefined): void {
  const version = contentType === undefined ? undefined : structuresVersion(contentType);
  if (version === undefined || asked.has(version)) return;
  asked.add(version);
  bus.nc
    // All roles hear the question, so it names an inbox that says nothing of where else we await answers: those are numbered.
    .request(bus.subjects.codec(version), undefined, {
      timeout: 2000,
      noMux: true,
      reply: `${bus.inbox.slice(0, bus.inbox.lastIndexOf("."))}.${newId()}`,
    })
    .then((reply) => {
      const table = StructureTable.safeParse(reply.json());
      if (!table.success || versionOfStructures(table.data) !== version) {
        throw new MeshError("bad_request", "a peer's structure table is not the one asked for");
      }
      learnStructures(version, table.data);
    })
    .catch(() => asked.delete(version));
}
