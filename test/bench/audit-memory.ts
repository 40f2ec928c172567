import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { tempDir } from "../kit/temp-dir.ts";
import type { Bench, Report } from "./bench.ts";

/** What the writing process says of itself. */
export interface MemorySample {
  entries: number;
  seconds: number;
  /** All its threads, MB of 2^20 bytes. */
  rssMb: number;
  /** JavaScript objects of its main thread, behind a collection. */
  heapMb: number;
  externalMb: number;
}

/** Entries; TIERMESH_BENCH_ENTRIES says another number. With TIERMESH_AUDIT_STORAGE_KEY the log is encrypted. */
const ENTRIES = 10_000_000;

/** Whether the writer's memory grows with the log. */
export const auditMemory: Bench = {
  summary: "the memory of the auditor's writer up to 10,000,000 entries (some 8 GB of disk, which it gives back)",
  run,
};

async function run(report: Report): Promise<void> {
  const dir = tempDir("tiermesh-bench-memory-");
  const entries = process.env["TIERMESH_BENCH_ENTRIES"] ?? String(ENTRIES);
  try {
    const child = fork(fileURLToPath(new URL("audit-memory.child.ts", import.meta.url)), {
      execArgv: ["--expose-gc"],
      env: { ...process.env, BENCH_FOLDER: dir.path, BENCH_ENTRIES: entries },
    });
    child.on("message", (message) => {
      const { entries: count, externalMb, heapMb, rssMb, seconds } = message as MemorySample;
      const each = Math.round(count / seconds).toLocaleString("en");
      report.note(
        `${count.toLocaleString("en")} entries: ${rssMb} MB (objects ${heapMb}, outside ${externalMb}); ${each}/s so far`,
      );
    });
    const [code] = (await once(child, "exit")) as [number | null];
    if (code !== 0) throw new Error(`the writer ended with ${code}`);
  } finally {
    await dir.remove();
  }
}
