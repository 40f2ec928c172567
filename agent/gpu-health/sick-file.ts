import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { GpuName, Label } from "../../bus-schemas/index.ts";

/** A card that is not used. */
const SickGpu = z.object({
  gpu: GpuName,
  cause: z.enum(["xid", "gone", "silent"]),
  reason: Label,
  /** It is not there at present. */
  away: z.boolean(),
  /** It was away, or silent, and is back. */
  returned: z.boolean(),
});
export type SickGpu = z.infer<typeof SickGpu>;

const Saved = z.object({
  v: z.literal(1),
  /** The kernel's, new at each start of the machine; null where there is none. */
  boot_id: z.string().max(100).nullable(),
  /** The last record of this boot's kernel log that was acted on. */
  kernel_sequence: z.number().int().min(-1),
  sick: z.array(z.tuple([z.string().min(1).max(200), SickGpu])).max(256),
});

const KERNEL = /^kmsg-(\d+)$/;

/**
 * The sick cards, kept in a file. After a start of the machine all of them have been away: a power cycle is what cures most of them, and
 * those that it does not cure say so again.
 */
export class SickFile {
  readonly sick = new Map<string, SickGpu>();
  readonly #path: string;
  readonly #bootId: string | null;
  readonly #onError: (error: unknown) => void;
  #kernelSequence = -1;

  /** @param onError a file that cannot be written costs the memory of a restart, not the work */
  constructor(path: string, onError: (error: unknown) => void, bootId: string | null = bootIdOf()) {
    this.#path = path;
    this.#bootId = bootId;
    this.#onError = onError;
    const saved = read(path);
    if (saved === undefined) return;
    const sameBoot = saved.boot_id === bootId;
    if (sameBoot) this.#kernelSequence = saved.kernel_sequence;
    for (const [key, one] of saved.sick) this.sick.set(key, sameBoot ? one : { ...one, away: true });
  }

  set(key: string, sick: SickGpu): void {
    this.sick.set(key, sick);
    this.#write();
  }

  delete(key: string): void {
    if (this.sick.delete(key)) this.#write();
  }

  /** Whether a fault was acted on before the agent was restarted. */
  isHandled(id: string): boolean {
    const sequence = KERNEL.exec(id)?.[1];
    return sequence !== undefined && Number(sequence) <= this.#kernelSequence;
  }

  /** All of these were acted on. */
  handled(ids: Iterable<string>): void {
    const newest = Math.max(this.#kernelSequence, ...Array.from(ids, (id) => Number(KERNEL.exec(id)?.[1] ?? -1)));
    if (newest === this.#kernelSequence) return;
    this.#kernelSequence = newest;
    this.#write();
  }

  #write(): void {
    const saved: z.infer<typeof Saved> = {
      v: 1,
      boot_id: this.#bootId,
      kernel_sequence: this.#kernelSequence,
      sick: [...this.sick],
    };
    try {
      writeFileSync(`${this.#path}.new`, JSON.stringify(saved), { mode: 0o600 });
      renameSync(`${this.#path}.new`, this.#path);
    } catch (error) {
      this.#onError(error);
    }
  }
}

function read(path: string): z.infer<typeof Saved> | undefined {
  try {
    return Saved.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch {
    // Absent at the first start; unreadable counts as nothing known.
    return undefined;
  }
}

function bootIdOf(): string | null {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return null;
  }
}
