import { existsSync } from "node:fs";
import path from "node:path";
import { countSeals } from "../../auditor/at-rest/reseal.ts";
import { readStorageKeys } from "../../auditor/at-rest/storage-keys.ts";
import { stateDir } from "../../service/paths.ts";
import type { Check } from "./check.ts";

/** Whether the auditor's log on this machine's disk can be read by whoever has the disk. */
export const auditLog: Check = {
  name: "audit log",
  check: async (env) => {
    const folder = env["TIERMESH_AUDIT_DIR"] ?? path.join(stateDir({ env }), "audit");
    if (!existsSync(folder)) return { level: "ok", says: "no log of this machine's to look at" };
    try {
      const { current, ids } = readStorageKeys(env, stateDir({ env }));
      const { plain = 0, ...sealed } = await countSeals(folder);
      const missing = Object.keys(sealed).filter((id) => !ids.includes(id));
      if (missing.length > 0)
        return {
          level: "fail",
          says: `encrypted by storage key ${missing.join(", ")}, which is not here`,
          todo: "put its copy back: TIERMESH_AUDIT_STORAGE_KEY_FILE, or audit-storage-key in the state folder",
        };
      if (current === undefined)
        return { level: "ok", says: "in clear on the disk (`tiermesh audit encrypt` encrypts it)" };
      const others = Object.entries(sealed).filter(([id]) => id !== current.id);
      const old = others.reduce((sum, [, count]) => sum + count, 0);
      if (plain + old === 0) return { level: "ok", says: `encrypted on the disk, by storage key ${current.id}` };
      return {
        level: "warn",
        says: `encrypted by storage key ${current.id}, but ${plain} files are still in clear and ${old} by an older key`,
        todo: "start the auditor anew; it encrypts them by itself (`encryption` in its health)",
      };
    } catch (error) {
      const says = error instanceof Error ? error.message : String(error);
      return { level: "fail", says, todo: "`tiermesh audit encrypt --status` says more" };
    }
  },
};
