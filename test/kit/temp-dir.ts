import { mkdtempSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

export interface TempDir extends AsyncDisposable {
  path: string;
  /** Removes the folder and what is in it; safe to call twice. */
  remove(): Promise<void>;
}

const left = new Set<string>();
process.on("exit", () => {
  for (const folder of left) rmSync(folder, { recursive: true, force: true });
});
// vitest ends its workers by a signal, of which `exit` alone would not hear.
if (process.env["VITEST"] !== undefined) process.once("SIGTERM", () => process.exit());

/** A new empty folder under the system's temporary folder; removed at the end of this process if nobody does before. */
export function tempDir(prefix = "tiermesh-"): TempDir {
  const folder = mkdtempSync(path.join(tmpdir(), prefix));
  left.add(folder);
  const remove = async () => {
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
    left.delete(folder);
  };
  return { path: folder, remove, [Symbol.asyncDispose]: remove };
}
