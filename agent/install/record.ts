import { readFileSync } from "node:fs";
import { z } from "zod";
import { MeshError } from "../../bus-schemas/index.ts";
import { PROFILES } from "../manners/settings.ts";
import type { Layout } from "./layout.ts";
import type { Machine } from "./machine.ts";

/** What was installed, as root's file: an uninstall takes away what this says was made, and nothing else. */
export const InstallRecord = z.object({
  v: z.literal(1),
  /** Of the program. */
  version: z.string().min(1).max(64),
  profile: z.enum(PROFILES).nullable(),
  /** Whether the account was made by the installation, and goes with it. */
  account_made: z.boolean(),
  /** Set while an upgrade has not been found healthy: the version before it. */
  upgrading_from: z.string().max(64).nullable().default(null),
});
export type InstallRecord = z.infer<typeof InstallRecord>;

/** @returns undefined when nothing is installed. @throws MeshError `bad_config` naming the file when it is damaged */
export function readRecord(machine: Machine, layout: Layout): InstallRecord | undefined {
  const file = machine.at(layout.record);
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new MeshError("forbidden", `${file} cannot be read; run as root`, { cause });
  }
  try {
    return InstallRecord.parse(JSON.parse(text));
  } catch (cause) {
    throw new MeshError("bad_config", `${file} is damaged; remove it and install again: nothing else is lost`, {
      cause,
    });
  }
}

export function writeRecord(record: InstallRecord): string {
  return `${JSON.stringify(record, null, 2)}\n`;
}
