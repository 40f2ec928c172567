import { z } from "zod";
import { Bytes, Count, IsoTime, Label, NodeId, SubjectToken, UnixMs } from "./units.ts";

/** Releases of the agent on the bus, and what becomes of them on the nodes (ADR 0030). */

/** A file travels in pieces of this size, bytes: below the 1 MiB that a bus takes by default, also when JetStream tells it as base64. */
export const RELEASE_CHUNK_BYTES = 256 * 1024;
/** Longer is no program of ours, bytes. */
export const MAX_RELEASE_BYTES = 512 * 1024 ** 2;
/** Systems that one release has a file for, at most. */
const MAX_SYSTEMS = 8;

export const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, "64 hexadecimal digits");
/** As Semantic Versioning 2.0.0 writes it; no two points together, so that {@link releaseKey} has one reading. */
export const ReleaseVersion = z
  .string()
  .max(60)
  .regex(/^[0-9A-Za-z-]+([.+][0-9A-Za-z-]+)*$/, "a version such as 1.4.0 or 1.5.0-rc.1");
/** Platform and processor as Node names them: `linux-x64`, `win32-x64`. */
export const ReleaseSystem = z.string().regex(/^[a-z0-9]{1,20}-[a-z0-9]{1,20}$/, "as linux-x64");

/** One program of a release. */
export const ReleaseFile = z.object({
  system: ReleaseSystem,
  bytes: Bytes.min(1).max(MAX_RELEASE_BYTES),
  sha256: Sha256,
  /** Text of its signature file (service/release-signature.ts). */
  signature: z.string().min(1).max(10_000),
});
export type ReleaseFile = z.infer<typeof ReleaseFile>;

const ReleaseFiles = z.array(ReleaseFile).min(1).max(MAX_SYSTEMS);

/** What the bus knows of a release; its bytes are beside it, by their SHA-256. */
export const Release = z.object({
  v: z.literal(1),
  version: ReleaseVersion,
  files: ReleaseFiles,
  added_unix_ms: UnixMs,
  by: Label,
});
export type Release = z.infer<typeof Release>;

/** The version as one word of a subject: it has no `_` of its own. */
export function releaseKey(version: string): string {
  return version.replaceAll(".", "_").replaceAll("+", "__");
}

/** The version of a `releaseKey`. */
export function versionOfKey(key: string): string {
  return key.replaceAll("__", "+").replaceAll("_", ".");
}

/** Pieces of a file of so many bytes. */
export function chunkCount(bytes: number): number {
  return Math.ceil(bytes / RELEASE_CHUNK_BYTES);
}

/** Asks the keeper for one piece of a file (`release.get`). The answer is its bytes, or JSON with an error. */
export const ReleaseGet = z.object({ sha256: Sha256, chunk: Count });
export type ReleaseGet = z.infer<typeof ReleaseGet>;

/** Who upgrades the fleet now; one at a time. */
export const UpgradeLock = z.object({
  v: z.literal(1),
  /** Of this run. */
  id: SubjectToken,
  by: Label,
  host: Label,
  version: ReleaseVersion,
  /** It counts until then, and is said again before. */
  until_unix_ms: UnixMs,
});
export type UpgradeLock = z.infer<typeof UpgradeLock>;

/** Why a node is not upgraded. */
export const UPGRADE_PROBLEMS = [
  /** No installed service: a source tree, a container, `agent run` in a terminal. */
  "not_installed",
  /** apt upgrades it. */
  "managed_by_package",
  /** The machine trusts no key, so nothing can be taken over the bus. */
  "release_key_missing",
  "wrong_system",
  "bad_signature",
  /** The bytes are not those that were signed. */
  "bad_artefact",
  /** The bus has a piece of it no more. */
  "release_missing",
  "no_space",
  /** It is older than what runs. */
  "downgrade",
  /** There is nothing to go back to. */
  "no_previous",
  /** Another upgrade of this machine is under way. */
  "busy",
  /** The new program did not come up. */
  "not_healthy",
  /** Nobody took up what the agent asked for: the machine's upgrade service does not run. */
  "not_taken_up",
  "bad_request",
  "failed",
] as const;
export type UpgradeProblem = (typeof UPGRADE_PROBLEMS)[number];

/**
 * `downloading`, `verified`: the file is, or will be, in the agent's own folder. `handed_over`: root's part was asked for.
 * `switching`: it exchanges the program. `healthy`, `rolled_back`, `failed`: how the last one ended; after `failed` nothing had been changed.
 */
export const UPGRADE_PHASES = [
  "idle",
  "downloading",
  "verified",
  "handed_over",
  "switching",
  "healthy",
  "rolled_back",
  "failed",
] as const;

export const UPGRADE_ACTIONS = ["upgrade", "rollback"] as const;
export type UpgradeAction = (typeof UPGRADE_ACTIONS)[number];

/** How far an agent's upgrade is, or how its last one ended. */
export const UpgradeState = z.object({
  phase: z.enum(UPGRADE_PHASES),
  action: z.enum(UPGRADE_ACTIONS).nullable().default(null),
  /** Of the order that it is about. */
  id: SubjectToken.nullable().default(null),
  /** What runs. */
  version: Label.nullable().default(null),
  /** What is to run; null of a way back before it has begun. */
  to: Label.nullable().default(null),
  done_bytes: Bytes.nullable().default(null),
  total_bytes: Bytes.nullable().default(null),
  problem: z.enum(UPGRADE_PROBLEMS).nullable().default(null),
  message: z.string().max(500).nullable().default(null),
  at: IsoTime.nullable().default(null),
});
export type UpgradeState = z.infer<typeof UpgradeState>;

/** `check`: could it be done? `fetch`: and have the file ready. `go`: do it. */
export const UPGRADE_MODES = ["check", "fetch", "go"] as const;

/** How long the new program may take until it is on the bus, seconds. */
export const UpgradeWait = z.number().min(1).max(600);

/** The fields of an order to upgrade. The agent picks its own system's file. */
export const UPGRADE_ORDER = {
  mode: z.enum(UPGRADE_MODES).default("go"),
  id: SubjectToken,
  version: ReleaseVersion,
  files: ReleaseFiles,
  wait_seconds: UpgradeWait.default(60),
};

/** Releases come and go, and agents are upgraded by them; a part of `EVENTS`. */
export const UPGRADE_EVENTS = {
  release_changed: {
    by: ["keeper"],
    ofJob: false,
    summary: "An operator has brought a release of the agent to the bus, or taken one away.",
    data: z.object({
      /** Null: all were taken away. */
      version: ReleaseVersion.nullable(),
      action: z.enum(["added", "removed"]),
      /** Of who brought it, as their program says; of who took it away, the key by which the broker knows them. */
      by: Label.nullable(),
      /** What was brought. */
      files: z.array(z.object({ system: ReleaseSystem, sha256: Sha256 })).max(MAX_SYSTEMS),
    }),
  },
  node_upgraded: {
    by: ["agent"],
    ofJob: false,
    summary:
      "An agent was upgraded by a signed release over the bus, or went back to the program before, or that failed and the former one runs.",
    data: z.object({
      node_id: NodeId,
      action: z.enum(UPGRADE_ACTIONS),
      outcome: z.enum(["healthy", "rolled_back", "failed"]),
      /** What ran before, and what was to run. */
      from: Label.nullable(),
      to: Label.nullable(),
      /** SHA-256 of the program; null of a way back. */
      sha256: Sha256.nullable(),
      problem: z.enum(UPGRADE_PROBLEMS).nullable(),
      /** Who ordered it, as their program says. */
      by: Label.optional(),
    }),
  },
} as const;
