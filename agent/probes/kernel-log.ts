import { constants } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";

/** A record is at most so long (kernel: PRINTK_MESSAGE_MAX 2048, with its dictionary 8192), bytes. */
const MAX_RECORD_BYTES = 8192;
/** Records read at one look: the whole log of a machine is some ten thousand. */
const MAX_RECORDS = 50_000;

/** One line that the kernel itself wrote. */
export interface KernelRecord {
  /** Grows by one with each record since the machine was started. */
  sequence: number;
  text: string;
}

/**
 * The kernel's log by /dev/kmsg (Documentation/ABI/testing/dev-kmsg), which gives one record a read. Who may read it: root, or with
 * kernel.dmesg_restrict=0 everybody; not a service with ProtectKernelLogs=.
 */
export class KernelLog {
  readonly #path: string;
  #file: FileHandle | undefined;

  /** @param path another one only in tests */
  constructor(path = "/dev/kmsg") {
    this.#path = path;
  }

  /** What was written since the last time, at first all that the kernel still has; null = it may not be read here. */
  async read(): Promise<KernelRecord[] | null> {
    try {
      this.#file ??= await open(this.#path, constants.O_RDONLY | constants.O_NONBLOCK);
      return await readAll(this.#file);
    } catch {
      await this.#file?.close().catch(() => undefined);
      this.#file = undefined;
      return null;
    }
  }
}

async function readAll(file: FileHandle): Promise<KernelRecord[]> {
  const records: KernelRecord[] = [];
  const buffer = Buffer.allocUnsafe(MAX_RECORD_BYTES);
  for (let count = 0; count < MAX_RECORDS; count++) {
    try {
      const { bytesRead } = await file.read(buffer, 0, MAX_RECORD_BYTES, null);
      if (bytesRead === 0) break;
      const record = parseKernelRecord(buffer.toString("utf8", 0, bytesRead));
      if (record !== undefined) records.push(record);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EAGAIN") break;
      // What was to come next was overwritten meanwhile; the next read goes on behind it.
      if (code !== "EPIPE") throw error;
    }
  }
  return records;
}

/**
 * `6,1234,98765432,-;NVRM: Xid …`: facility and level, sequence, microseconds, flags. Undefined for what is no record, and for what a
 * program wrote there (facility other than 0): only the kernel's word counts.
 */
export function parseKernelRecord(text: string): KernelRecord | undefined {
  const [, priority, sequence, message] = /^(\d{1,5}),(\d{1,15}),\d+,[^;\n]*;([^\n]*)/.exec(text) ?? [];
  if (message === undefined || Number(priority) >= 8) return undefined;
  return { sequence: Number(sequence), text: message };
}
