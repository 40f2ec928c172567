import { InvalidArgumentError, Option } from "commander";
import { DATA_CLASSES, SubjectToken } from "../bus-schemas/index.ts";

/** The bounds that a job on the bus has (bus-schemas/job.ts), so that a flag beyond them is told by its name. */
const MAX_TOKENS = 1_000_000;
const MAX_SECONDS = 30 * 24 * 3600;

/**
 * `--class`. On the bus an unknown class takes the policy's default, which may be a wider one than was meant; a person's
 * typo is told at once instead.
 */
export function classOption(): Option {
  return new Option("--class <class>", "data class; without one the policy's default counts").choices(DATA_CLASSES);
}

/** Seconds, from a millisecond to 30 days. */
export function seconds(text: string): number {
  const value = Number(text);
  if (!(value >= 0.001 && value <= MAX_SECONDS))
    throw new InvalidArgumentError(`a number of seconds above 0, at most ${MAX_SECONDS}`);
  return value;
}

/** A number of tokens from 1 on. */
export function tokenCount(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > MAX_TOKENS)
    throw new InvalidArgumentError(`a whole number from 1 to ${MAX_TOKENS}`);
  return value;
}

/** A name that becomes part of a subject: a queue, a cell. */
export function subjectToken(text: string): string {
  if (!SubjectToken.safeParse(text).success)
    throw new InvalidArgumentError("letters, digits, _ and -, 1 to 64 characters");
  return text;
}

/** `--queue` */
export function queueOption(): Option {
  return new Option("--queue <name>", "task queue").default("chat").argParser(subjectToken);
}

/** A port; 0 = any free one. */
export function portNumber(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new InvalidArgumentError("a port is a whole number from 0 to 65535");
  return port;
}
