import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { UnixMs } from "../../bus-schemas/index.ts";
import type { OwnersWord } from "./manners.ts";

const Saved = z.object({
  word: z.enum(["pause", "finish"]),
  /** null = until it is taken back. */
  until_unix_ms: UnixMs.nullable(),
});

/** Two clocks: one that only runs forward, and one that survives a restart. Milliseconds. */
export interface TwoClocks {
  steadyMs(): number;
  unixMs(): number;
}

/**
 * What somebody at this machine said to its agent: pause, for a while or until resumed, or finish. It outlives a restart. While the
 * agent runs, its end is counted on the clock that nobody can set.
 */
export class OwnerWord {
  readonly #file: string;
  readonly #clocks: TwoClocks;
  #said: OwnersWord | undefined;
  #untilUnixMs: number | null = null;
  #endsAtMs = Infinity;

  constructor(file: string, clocks: TwoClocks) {
    this.#file = file;
    this.#clocks = clocks;
    const saved = load(file);
    if (saved === undefined) return;
    const leftMs = saved.until_unix_ms === null ? Infinity : saved.until_unix_ms - clocks.unixMs();
    if (leftMs > 0) this.#keep(saved.word, leftMs);
  }

  /** undefined = nothing was said, or it is over. */
  get current(): { word: OwnersWord; untilUnixMs: number | null } | undefined {
    if (this.#said === undefined || this.#clocks.steadyMs() >= this.#endsAtMs) return undefined;
    return { word: this.#said, untilUnixMs: this.#untilUnixMs };
  }

  /** @param minutes undefined = until {@link resume} */
  say(word: OwnersWord, minutes?: number): void {
    this.#keep(word, minutes === undefined ? Infinity : minutes * 60_000);
    this.#save({ word, until_unix_ms: this.#untilUnixMs });
  }

  resume(): void {
    this.#said = undefined;
    this.#save(null);
  }

  #keep(word: OwnersWord, leftMs: number): void {
    this.#said = word;
    this.#endsAtMs = this.#clocks.steadyMs() + leftMs;
    this.#untilUnixMs = leftMs === Infinity ? null : Math.round(this.#clocks.unixMs() + leftMs);
  }

  #save(what: z.infer<typeof Saved> | null): void {
    writeFileSync(`${this.#file}.new`, JSON.stringify(what), { mode: 0o600 });
    renameSync(`${this.#file}.new`, this.#file);
  }
}

function load(file: string): z.infer<typeof Saved> | undefined {
  try {
    return Saved.parse(JSON.parse(readFileSync(file, "utf8")));
  } catch {
    // Absent at the first start; unreadable counts as nothing said.
    return undefined;
  }
}
