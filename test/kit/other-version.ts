import path from "node:path";
import type { Plugin } from "rolldown";
import { ROOT } from "../../scripts/agent-bundle.ts";

/** One change of a source file: what stands there, and what a build of another version has instead. */
type Change = readonly [from: string, to: string];

/**
 * What the next version of the contract may do without a word to anybody: new fields in every body, at any depth, another table of
 * structures, a higher version. `codec.ts` is where each body passes.
 */
const NEXT: Record<string, readonly Change[]> = {
  "bus-schemas/node-record.ts": [
    ["NODE_SCHEMA_VERSION = 1;", "NODE_SCHEMA_VERSION = 2;"],
    ["labels: z.record(", "from_the_future: z.object({ level: Count }).nullable().default(null),\n  labels: z.record("],
  ],
  "agent/heartbeat.ts": [["      labels: {", "      from_the_future: { level: 3 },\n      labels: {"]],
  "service/codec.ts": [
    [
      "export function encode(value: unknown, encoding: Encoding): Uint8Array {",
      `export function encode(plainValue: unknown, encoding: Encoding): Uint8Array {
  const isBody = typeof plainValue === "object" && plainValue !== null && !Array.isArray(plainValue);
  const value = isBody && !("from_the_future" in plainValue) ? { ...plainValue, from_the_future: [1, { a: null }] } : plainValue;`,
    ],
  ],
};

/** What a version before this one did not have yet: the fields of the heartbeat that came last, as if nobody had thought of them. */
const NEWEST_FIELDS = ["name", "networks", "profile", "allowed_slots", "sleep", "version", "performance", "labels"];

const PREVIOUS: Record<string, readonly Change[]> = {
  // It knows neither callers nor salts, and commits to nothing.
  "bus-schemas/job.ts": [
    ["  caller: Caller.optional(),\n", ""],
    ["  commitment_salt: KeyBytes.optional(),\n", ""],
    ["  commitment_salt: KeyBytes.nullable().default(null),\n", ""],
  ],
  "agent/ended-event.ts": [["    commitments,\n", ""]],
  "bus-schemas/node-record.ts": [
    ["NODE_SCHEMA_VERSION = 1;", "NODE_SCHEMA_VERSION = 0;"],
    ["  profile: SubjectToken.nullable().default(null),\n", ""],
    ["  allowed_slots: Count.nullable().default(null),\n", ""],
    ["  sleep: SleepRecord.nullable().default(null),\n", ""],
  ],
  "service/codec.ts": [
    [
      "export function encode(value: unknown, encoding: Encoding): Uint8Array {",
      `export function encode(plainValue: unknown, encoding: Encoding): Uint8Array {
  const isHeartbeat = typeof plainValue === "object" && plainValue !== null && "last_heartbeat" in plainValue;
  const value = isHeartbeat
    ? Object.fromEntries(Object.entries(plainValue).filter(([key]) => !${JSON.stringify(NEWEST_FIELDS)}.includes(key)))
    : plainValue;`,
    ],
  ],
};

export const OTHER_VERSIONS = { next: NEXT, previous: PREVIOUS };
export { NEWEST_FIELDS };

/** A bundler's step that builds the sources of another version. @throws when a source no longer has what is changed */
export function sourcesOf(changes: Record<string, readonly Change[]>): Plugin {
  return {
    name: "other version",
    transform(code, id) {
      const file = path.relative(ROOT, id).replaceAll("\\", "/");
      let changed = code;
      for (const [from, to] of changes[file] ?? []) {
        if (!changed.includes(from)) throw new Error(`${file} no longer has: ${from}`);
        changed = changed.replace(from, to);
      }
      return changed === code ? null : { code: changed };
    },
  };
}
