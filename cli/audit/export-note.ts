import { MeshError, type ExportNoteInput } from "../../bus-schemas/index.ts";
import type { MeshClient } from "../../client/index.ts";
import { askAuditor } from "../audit-client.ts";
import { note } from "../format/terminal.ts";
import { operator } from "../policy/source.ts";

/** The auditor has the event durable within this time, milliseconds. */
const LIMIT_MS = 3000;

/**
 * Has the auditor record that something was taken out of the mesh. An export stands whether it can be recorded or not; a person
 * is told if not.
 */
export async function noteExport(client: MeshClient, about: Omit<ExportNoteInput, "by">): Promise<void> {
  try {
    await askAuditor(client, client.bus.subjects.auditExport, { ...about, by: operator().slice(0, 200) }, LIMIT_MS);
  } catch (error) {
    note(`this export is not on record: ${MeshError.from(error).message}`);
  }
}
