import { NO_GO, buildGo } from "../foreign/go-program.ts";

/** A checker of logs written in Go over golang.org/x/mod/sumdb/{tlog,note} and none of our code. */
export interface ForeignChecker {
  /** Why there is none, in words; then `run` cannot be used. */
  absent: string | undefined;
  run: ReturnType<typeof buildGo>;
}

/** Builds test/foreign/tlog in a folder. @throws Error with the compiler's words */
export function buildForeignChecker(folder: string): ForeignChecker {
  if (NO_GO === undefined) return { absent: undefined, run: buildGo("tlog", folder) };
  const run = () => {
    throw new Error(NO_GO);
  };
  return { absent: NO_GO, run };
}
