import { readFileSync, statSync } from "node:fs";
import type { KeySource } from "./provider.ts";

/** No API key is longer, characters. */
const MAX_KEY_CHARS = 4096;

/** A provider's key, or why there is none; `warning` for people. None of the texts holds any part of a key. */
export interface ReadKey {
  key?: string;
  problem?: string;
  warning?: string;
}

/** Reads a key from the environment or a file. White space around it does not count: editors end files with a line. */
export function readKey(
  { file, variable = "" }: KeySource,
  env: Readonly<Record<string, string | undefined>>,
): ReadKey {
  if (file === undefined) return checkKey(env[variable], `the variable ${variable}`);
  const where = `the key file ${file}`;
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    return { problem: `${where} cannot be read (${(error as NodeJS.ErrnoException).code ?? "unknown error"})` };
  }
  const checked = checkKey(text, where);
  return readableByAll(file) ? { ...checked, warning: `${where} can be read by every user; chmod 600 it` } : checked;
}

function checkKey(text: string | undefined, where: string): ReadKey {
  const key = text?.trim() ?? "";
  if (key === "") return { problem: `no key: ${where} is empty or not set` };
  // What cannot stand in an HTTP header is none.
  if (key.length > MAX_KEY_CHARS || !/^[\x21-\x7e]+$/.test(key))
    return { problem: `${where} does not hold one key (letters, digits and signs, without spaces)` };
  return { key };
}

/** Windows has no such bits. */
function readableByAll(file: string): boolean {
  return process.platform !== "win32" && (statSync(file, { throwIfNoEntry: false })?.mode ?? 0) % 8 >= 4;
}
