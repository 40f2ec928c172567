import { readdirSync, statSync } from "node:fs";
import path from "node:path";
import { segmentLines } from "../../auditor/segment-reader.ts";
import { AuditEntry, MeshError } from "../../bus-schemas/index.ts";
import { storageKeys } from "../audit/log-folder.ts";

/**
 * Entries of an auditor's log on disk, or of what `tiermesh audit tail --json` printed: a file, or a folder with all its
 * segments. Segment headers and rejected messages are passed over.
 * @throws MeshError `bad_request` naming file and line; `bad_config` when it is encrypted and its key is not here
 */
export async function* entriesIn(place: string): AsyncGenerator<AuditEntry, void, undefined> {
  for (const file of filesAt(place)) {
    for await (const { number, text } of segmentLines(file, storageKeys())) {
      if (text.trim() === "") continue;
      const value = parsed(text, `${file}:${number}`);
      if (!("type" in value)) continue;
      const entry = AuditEntry.safeParse(value);
      if (!entry.success) throw new MeshError("bad_request", `${file}:${number}: not an entry of an audit log`);
      yield entry.data;
    }
  }
}

function filesAt(place: string): string[] {
  try {
    if (!statSync(place).isDirectory()) return [place];
    const files = readdirSync(place).filter((name) => name.endsWith(".jsonl"));
    if (files.length > 0) return files.toSorted().map((name) => path.join(place, name));
  } catch (cause) {
    throw new MeshError("bad_request", `${place}: cannot be read`, { cause });
  }
  throw new MeshError("bad_request", `${place}: holds no segments (*.jsonl) of an audit log`);
}

function parsed(line: string, where: string): object {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === "object" && value !== null) return value;
  } catch {
    // Told below.
  }
  throw new MeshError("bad_request", `${where}: not JSON; a line cut by a crash can be deleted`);
}
