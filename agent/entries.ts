import { getAsset, isSea } from "node:sea";
import { fileURLToPath } from "node:url";
import { Worker, type WorkerOptions } from "node:worker_threads";
import { ENTRY_FLAG } from "./single-executable-entry.ts";

/**
 * The files that an agent starts as a thread or a process of its own, by what they do. The only place that knows where they are:
 * beside this file in the source, beside each other, by these names, in a bundle (scripts/build-agent.ts), and inside the program
 * itself in a single executable (scripts/single-executable.ts).
 */
export const ENTRIES = {
  work: "work/worker.ts",
  probes: "probes/worker.ts",
  embedded: "embedded/server.ts",
} as const;
export type EntryName = keyof typeof ENTRIES;

/** In a bundle this module is a part of a `.js` file. */
const bundled = !import.meta.url.endsWith(".ts");

/** The code in a single executable that loads its parts. */
export const LOADER_ASSET = "loader.cjs";

/** This process is the single executable: there is no Node beside it, and no file of ours. */
export const isSingleExecutable = isSea();

/** Where to start it from, where it is a file. */
export function entryUrl(name: EntryName): URL {
  return new URL(bundled ? `${name}.js` : ENTRIES[name], import.meta.url);
}

/** The arguments for `process.execPath` that start it as a process; its own follow. */
export function entryArgs(name: EntryName): string[] {
  return isSingleExecutable ? [`${ENTRY_FLAG}=${name}`] : [fileURLToPath(entryUrl(name))];
}

/** Starts it as a thread. */
export function entryThread(name: EntryName, options: WorkerOptions): Worker {
  if (!isSingleExecutable) return new Worker(entryUrl(name), options);
  // A thread has none of what was set up in the main one, so it begins with the same loader.
  return new Worker(getAsset(LOADER_ASSET, "utf8"), { ...options, eval: true, argv: [`${ENTRY_FLAG}=${name}`] });
}
