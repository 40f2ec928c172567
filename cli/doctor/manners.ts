import { asMember } from "../../agent/membership.ts";
import { agentConfig } from "../../agent/config.ts";
import { companyFile, loadManners } from "../../agent/manners/load.ts";
import { MeshError } from "../../bus-schemas/index.ts";
import { cacheDir, stateDir } from "../../service/paths.ts";
import type { Check } from "./check.ts";

/** The limits of this machine's agent: from which files, and whether its own tries to loosen the company's. */
export const manners: Check = {
  name: "manners",
  check: async (env) => {
    const dirs = { stateDir: stateDir({ env }), cacheDir: cacheDir({ env }) };
    try {
      const config = agentConfig(asMember(env, dirs.stateDir), dirs);
      const { profile, files, warnings } = loadManners(config, companyFile(env));
      const says = `profile ${profile}, limits from ${files.length === 0 ? "its defaults" : files.join(", ")}`;
      return warnings.length === 0 ? { level: "ok", says } : { level: "warn", says, todo: warnings.join("; ") };
    } catch (error) {
      return { level: "fail", says: MeshError.from(error).message, todo: "no agent starts until this is put right" };
    }
  },
};
