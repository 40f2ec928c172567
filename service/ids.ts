import { ulid } from "ulid";

/** A new ULID: 26 characters, sorts by time, usable as a subject token. */
export function newId(): string {
  return ulid();
}
