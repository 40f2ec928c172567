import { text as readAll } from "node:stream/consumers";
import { MeshError } from "../bus-schemas/index.ts";

/** A secret from the command line, or with `-` from standard input, where no list of processes shows it. */
export async function readSecret(argument: string): Promise<string> {
  const text = argument === "-" ? await readAll(process.stdin) : argument;
  if (text.trim() === "")
    throw new MeshError("bad_config", "standard input is empty; a token was expected", { field: "token" });
  return text.trim();
}
