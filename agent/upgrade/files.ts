import { readFileSync } from "node:fs";
import path from "node:path";
import { z } from "zod";
import {
  IsoTime,
  Label,
  ReleaseVersion,
  Sha256,
  SubjectToken,
  UPGRADE_ACTIONS,
  UPGRADE_PROBLEMS,
  UpgradeWait,
} from "../../bus-schemas/index.ts";

/**
 * What passes between the agent, which may not change its own program, and root's part (agent/install/requested-upgrade.ts): the agent
 * writes its wish below its state folder, root the outcome into a folder of its own. Neither writes where the other owns.
 */

/** What the agent asks root for. It names no path: where things lie root knows by itself. */
export const UpgradeWish = z.strictObject({
  v: z.literal(1),
  id: SubjectToken,
  action: z.enum(UPGRADE_ACTIONS),
  /** What runs. */
  from: Label,
  /** Of an upgrade: what it is, and by whose word. */
  version: ReleaseVersion.nullable(),
  sha256: Sha256.nullable(),
  signature: z.string().max(10_000).nullable(),
  wait_seconds: UpgradeWait,
  by: Label.nullable(),
});
export type UpgradeWish = z.infer<typeof UpgradeWish>;

/** A wish is not longer, bytes. */
export const MAX_WISH_BYTES = 32 * 1024;

/** What root has made of it. */
export const UpgradeOutcome = z.object({
  v: z.literal(1),
  id: SubjectToken,
  phase: z.enum(["switching", "healthy", "rolled_back", "failed"]),
  from: Label.nullable(),
  to: Label.nullable(),
  problem: z.enum(UPGRADE_PROBLEMS).nullable(),
  message: z.string().max(500).nullable(),
  at: IsoTime,
});
export type UpgradeOutcome = z.infer<typeof UpgradeOutcome>;

/** The agent's side, below its state folder. */
export function wishFiles(stateDir: string, join: typeof path.join = path.join) {
  const folder = join(stateDir, "upgrade");
  // A folder of its own, for where no file can be watched but the folder that it is in.
  const wishFolder = join(folder, "wish");
  return {
    folder,
    wishFolder,
    wish: join(wishFolder, "wish.json"),
    /** Of the last outcome that was put on record. */
    told: join(folder, "told.json"),
    /** The program, by what it has to be. */
    artefact: (sha256: string) => join(folder, sha256),
  };
}

/** Root's side. */
export function outcomeFile(upgradeDir: string): string {
  return path.join(upgradeDir, "outcome.json");
}

/** undefined for what is not there, cannot be read or is none. */
export function readOutcome(upgradeDir: string): UpgradeOutcome | undefined {
  return readAs(UpgradeOutcome, outcomeFile(upgradeDir));
}

/** As {@link readOutcome}; for who owns the file. Root reads it by `readOwned`. */
export function readWish(file: string): UpgradeWish | undefined {
  return readAs(UpgradeWish, file);
}

export function isFinal({ phase }: UpgradeOutcome): boolean {
  return phase !== "switching";
}

function readAs<T extends z.ZodType>(schema: T, file: string): z.infer<T> | undefined {
  try {
    return schema.parse(JSON.parse(readFileSync(file, "utf8")));
  } catch {
    return undefined;
  }
}
