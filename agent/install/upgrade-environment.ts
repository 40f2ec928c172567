import path from "node:path";
import type { Layout } from "./layout.ts";

/** The installed service's definitions say these; nothing else does. */
export const UPGRADE_DIR_VARIABLE = "TIERMESH_UPGRADE_DIR";
export const RELEASE_KEY_VARIABLE = "TIERMESH_RELEASE_KEY";

/** What the service is told, so that its agent knows that it can be upgraded over the bus, and by whose key. */
export function upgradeEnvironment(
  { configDir, upgradeDir }: Layout,
  join: typeof path.join = path.posix.join,
): Record<string, string> {
  return { [UPGRADE_DIR_VARIABLE]: upgradeDir, [RELEASE_KEY_VARIABLE]: join(configDir, "release.pub") };
}
