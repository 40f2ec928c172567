import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { ClusterMesh } from "../kit/cluster-mesh.ts";
import { buildForeignChecker } from "../kit/foreign-go.ts";
import { verifyTree } from "../kit/signed-log.ts";

/** How often a stranger takes a copy of an auditor's newest checkpoint, milliseconds. */
const KEEP_EVERY_MS = 3000;

/** What those who do not trust the auditors find in one's folder. */
export interface SignedLog {
  auditor: string;
  problems: readonly string[];
  /** Ids of the events in its tiles, in their order; a message that was no event has none. */
  ids: readonly (string | undefined)[];
}

/**
 * Somebody who keeps checkpoints of a mesh's auditors while it runs, and has them and their logs checked by Go's packages
 * (test/foreign/tlog) in the end: each that was ever shown must be a beginning of every auditor's log.
 */
export class Stranger {
  readonly #mesh: ClusterMesh;
  readonly #folder: string;
  readonly #kept: string[] = [];
  #last = "";
  readonly #timer: NodeJS.Timeout;

  constructor(mesh: ClusterMesh) {
    this.#mesh = mesh;
    this.#folder = path.join(mesh.folder, "checkpoints");
    mkdirSync(this.#folder);
    this.#timer = setInterval(() => this.#keep(), KEEP_EVERY_MS);
  }

  /** Keeps no more checkpoints: of those that come when the mesh stops, one auditor may not have heard. */
  stopKeeping(): void {
    clearInterval(this.#timer);
  }

  /** @throws Error with the compiler's words */
  check(): { signed: SignedLog[]; said: string } {
    const go = buildForeignChecker(this.#folder);
    const words: string[] = [];
    const signed = this.#mesh.names("auditor").map((auditor) => {
      const folder = path.join(this.#mesh.home(auditor), "audit");
      const tlog = path.join(folder, "tlog");
      const problems = verifyTree(folder).problems.map(({ file, what }) => `${file}: ${what}`);
      if (go.absent === undefined) {
        const key = readFileSync(path.join(folder, "log-key.pub"), "utf8").trim();
        const { status, out, err } = go.run(tlog, key, ...this.#kept);
        if (status !== 0) problems.push(`Go: ${err || `ended with ${status}`}`);
        words.push(`${auditor}: ${out}`);
      }
      return { auditor, problems, ids: idsOf(tlog) };
    });
    const said = go.absent ?? `Go, with ${this.#kept.length} checkpoints kept meanwhile: ${words.join(", ")}`;
    return { signed, said };
  }

  #keep(): void {
    for (const auditor of this.#mesh.names("auditor")) {
      try {
        const text = readFileSync(path.join(this.#mesh.home(auditor), "audit", "tlog", "checkpoint"), "utf8");
        if (text === this.#last) continue;
        this.#last = text;
        const file = path.join(this.#folder, `${String(this.#kept.length).padStart(5, "0")}-${auditor}`);
        writeFileSync(file, text);
        this.#kept.push(file);
      } catch {
        // An auditor's first checkpoint is still to come.
      }
    }
  }
}

/** Reads the tiles' entries as their published format says (https://c2sp.org/tlog-tiles), and with none of our code. */
function idsOf(tlog: string): (string | undefined)[] {
  const size = Number(readFileSync(path.join(tlog, "checkpoint"), "utf8").split("\n")[1]);
  const entries = path.join(tlog, "tile", "entries");
  const ids: (string | undefined)[] = [];
  for (let tile = 0; tile * 256 < size; tile++) {
    const name = tileName(tile);
    const width = Math.min(256, size - tile * 256);
    const partial = path.join(entries, `${name}.p`);
    const file = width === 256 || !readdirSync(partial).includes(String(width)) ? name : `${name}.p/${width}`;
    const bundle = readFileSync(path.join(entries, file));
    for (let i = 0, at = 0; i < width; i++) {
      const end = at + 2 + bundle.readUInt16BE(at);
      const entry = JSON.parse(bundle.toString("utf8", at + 2, end)) as { id?: string };
      ids.push(entry.id);
      at = end;
    }
  }
  return ids;
}

/** 1234067 is x001/x234/067. */
function tileName(tile: number): string {
  const groups = [String(tile % 1000).padStart(3, "0")];
  for (let left = Math.floor(tile / 1000); left > 0; left = Math.floor(left / 1000))
    groups.unshift(`x${String(left % 1000).padStart(3, "0")}`);
  return groups.join("/");
}
