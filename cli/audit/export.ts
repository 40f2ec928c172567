import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { DAMAGED } from "../../auditor/at-rest/reseal.ts";
import { VERIFIER_KEY_FILE } from "../../auditor/log-key.ts";
import { entriesBehind } from "../../auditor/search/tile-entries.ts";
import { encodeBundle } from "../../auditor/tlog/bundle.ts";
import { openCheckpoint } from "../../auditor/tlog/checkpoint.ts";
import { DISK, replaceFiles } from "../../auditor/tlog/files.ts";
import { MINIMUM_INDEX_FILE, isPruned, readMinimumIndex } from "../../auditor/tlog/minimum-index.ts";
import { TileReader } from "../../auditor/tlog/reader.ts";
import { TILE_WIDTH, tilePath, widthOf, type Tile } from "../../auditor/tlog/tiles.ts";
import { readCheckpoint, verifyLog } from "../../auditor/tlog/verify.ts";
import { CHECKPOINT_FILE, WITNESSED_FILE } from "../../auditor/tlog/writer.ts";
import { MeshError } from "../../bus-schemas/index.ts";
import { EXIT } from "../command.ts";
import { harmless, note as tell, print, printJson } from "../format/terminal.ts";
import { withClient } from "../with-client.ts";
import { noteExport } from "./export-note.ts";
import { logPlace } from "./log-folder.ts";
import { prunedUpTo } from "./verify.ts";

export interface ExportFlags {
  offline?: string;
  key?: string;
  /** Entries from this time on, epoch milliseconds; a bundle's other entries go with them. */
  from?: number;
  json?: boolean;
}

/** Files that are written and synced at once. */
const AT_ONCE = 64;

/**
 * Writes the signed log in clear: what its newest checkpoint covers, and no more. What was written is checked; ends with 1 when it
 * is not whole.
 * @throws MeshError `bad_request` when the folder holds something; MissingStorageKey; BadTile for a damaged log
 */
export async function exportLog(out: string, { offline, key: keyFile, from, json }: ExportFlags): Promise<void> {
  const { folder, key, keys } = logPlace(offline, keyFile);
  if (existsSync(out) && readdirSync(out).length > 0)
    throw new MeshError("bad_request", `${out}: is not empty; name a new folder`, { field: "folder" });
  // Before its tiles: a running auditor goes on.
  const note = readCheckpoint(folder);
  const witnessed = ifThere(path.join(folder, WITNESSED_FILE));
  const kept = readMinimumIndex(folder);
  const { size } = openCheckpoint(note, key);
  const reader = new TileReader(folder, size, keys);
  const minimum = from === undefined ? kept : firstSince(from, reader, { minimum: kept, size });
  mkdirSync(out, { recursive: true });
  await writeTiles(reader, { minimum, size }, out);
  const rest = new Map([[path.join(out, CHECKPOINT_FILE), note]]);
  if (witnessed !== undefined && openCheckpoint(witnessed, key).size <= size)
    rest.set(path.join(out, WITNESSED_FILE), witnessed);
  if (minimum > 0) rest.set(path.join(out, MINIMUM_INDEX_FILE), Buffer.from(`${minimum}\n`));
  // What recovery cut from segments is no part of the log, and may still be wanted.
  const auditDir = path.dirname(folder);
  for (const name of readdirSync(auditDir).filter((one) => DAMAGED.test(one)))
    rest.set(path.join(out, name), keys.open(readFileSync(path.join(auditDir, name)), name) ?? Buffer.alloc(0));
  await replaceFiles(DISK, rest);
  const beside = [keyFile, path.join(folder, VERIFIER_KEY_FILE), path.join(path.dirname(folder), VERIFIER_KEY_FILE)];
  const found = beside.find((file) => file !== undefined && existsSync(file));
  if (found !== undefined) copyFileSync(found, path.join(out, VERIFIER_KEY_FILE));
  // Of the log of a mesh that runs here; a copy's is nobody's to know.
  if (offline === undefined) await onRecord(out, { minimum, size });
  const { problems } = verifyLog(out, key, { prunedUpTo: (entry) => Math.max(prunedUpTo(entry) ?? 0, minimum) });
  if (problems.length > 0) process.exitCode = EXIT.failed;
  if (json === true) return printJson({ folder: out, origin: key.name, size, minimum_index: minimum, problems });
  print(`${out}: ${harmless(key.name)}, ${size} entries in clear; all of it can be read by whoever has the folder`);
  if (minimum > kept)
    print(
      `it begins with entry ${minimum}, and still hashes to the same root; say --begins ${minimum} when you verify it`,
    );
  for (const { file, what } of problems) print(`  ${harmless(`${file}: ${what}`)}`);
}

async function onRecord(out: string, { minimum, size }: { minimum: number; size: number }): Promise<void> {
  const about = { kind: "entries", what: `the log in clear from entry ${minimum} on`, count: size - minimum } as const;
  try {
    await withClient((client) => noteExport(client, about));
  } catch {
    tell(`${out} is not on record: no mesh runs here`);
  }
}

/** Index of the first bundle that has an entry of this time or later. @throws MeshError `not_found` when none has */
function firstSince(fromMs: number, reader: TileReader, { minimum, size }: { minimum: number; size: number }): number {
  for (const bundle of entriesBehind(reader, size, minimum)) {
    const isIn = bundle.some(({ entry }) => "time" in entry && Date.parse(entry.time) >= fromMs);
    const first = bundle[0]?.entry.sequence ?? 1;
    if (isIn) return Math.floor((first - 1) / TILE_WIDTH) * TILE_WIDTH;
  }
  throw new MeshError("not_found", `no entry since ${new Date(fromMs).toISOString()}`, { field: "from" });
}

async function writeTiles(reader: TileReader, { minimum, size }: { minimum: number; size: number }, out: string) {
  let files = new Map<string, Buffer>();
  const flush = async () => {
    await replaceFiles(DISK, files);
    files = new Map();
  };
  for (const level of levelsOf(size)) {
    for (let index = 0; widthOf(level, index, size) > 0; index++) {
      if (isPruned({ level, index }, minimum)) continue;
      const width = widthOf(level, index, size);
      const content =
        level === "entries" ? encodeBundle(reader.bundle(index)) : Buffer.concat(reader.tile(level, index));
      files.set(path.join(out, tilePath({ level, index, width })), content);
      if (files.size >= AT_ONCE) await flush();
    }
  }
  await flush();
}

function levelsOf(size: number): Tile["level"][] {
  const levels: Tile["level"][] = ["entries"];
  for (let level = 0; size >= TILE_WIDTH ** level && size > 0; level++) levels.push(level);
  return levels;
}

function ifThere(file: string): Buffer | undefined {
  return existsSync(file) ? readFileSync(file) : undefined;
}
