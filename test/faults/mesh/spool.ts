import type { Spool, SpoolLine } from "../../../service/spool.ts";

/** A disk that outlives its processes: spool lines by name of the process, then by id. */
export type Disk = Map<string, Map<string, string>>;

/** What is settled is written down this late, milliseconds (service/spool.ts): a crash in between only sends it once more. */
const SETTLED_WITHIN_MS = 200;

/** The spool's promises on a disk in memory. */
export class SimSpool {
  readonly leftovers: readonly SpoolLine[];
  readonly #lines: Map<string, string>;
  broken = false;

  constructor(disk: Disk, name: string) {
    this.#lines = disk.get(name) ?? new Map<string, string>();
    disk.set(name, this.#lines);
    this.leftovers = Array.from(this.#lines, ([id, line]) => ({ id, line }));
  }

  static open(disk: Disk, name: string): Spool {
    return new SimSpool(disk, name) as unknown as Spool;
  }

  put(id: string, line: string): void {
    this.#lines.set(id, line);
  }

  settle(id: string): void {
    setTimeout(() => this.#lines.delete(id), SETTLED_WITHIN_MS);
  }

  async close(): Promise<void> {}
}
