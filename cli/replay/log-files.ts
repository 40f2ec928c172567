import { createReadStream, readdirSync, statSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { AuditEntry, MeshError } from "../../bus-schemas/index.ts";

/**
 * Entries of an auditor's log on disk, or of what `tiermesh audit tail --json` printed: a file, or a folder with all its
 * segments. Segment headers and rejected messages are passed over.
 * @throws MeshError `bad_request` naming file and line
 */
export async function* entriesIn(place: string): AsyncGenerator<AuditEntry, void, undefined> {
  for (const file of filesAt(place)) {
    let number = 0;
    for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
      number++;
      if (line.trim() === "") continue;
      const value = parsed(line, `${file}:${number}`);
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
