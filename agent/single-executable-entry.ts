import { pathToFileURL } from "node:url";

/** The first argument of a single executable that starts as one of its own parts; the part's name follows after `=`. */
export const ENTRY_FLAG = "--tiermesh-entry";

/**
 * Address of the modules inside the single executable; the asset's name follows. As if the program were a folder: they need an address
 * of a file, and no file can be there.
 */
export function moduleBase(execPath: string): string {
  return `${pathToFileURL(execPath).href}/`;
}

/** Without a flag it is the command line. */
const DEFAULT_ENTRY = "cli";

/** Which part of the program is started, and the arguments without the flag that says so. */
export function entryOf(argv: readonly string[]): { entry: string; argv: string[] } {
  const [program = "", script = "", first = "", ...rest] = argv;
  if (!first.startsWith(`${ENTRY_FLAG}=`)) return { entry: DEFAULT_ENTRY, argv: [...argv] };
  // Nothing but a name: it becomes part of an address.
  const name = /^[a-z]+$/.exec(first.slice(ENTRY_FLAG.length + 1))?.[0] ?? DEFAULT_ENTRY;
  return { entry: name, argv: [program, script, ...rest] };
}
