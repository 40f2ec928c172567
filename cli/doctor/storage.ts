import { stateDir } from "../../service/paths.ts";
import { canSyncAlways, obtainNatsServer } from "../../service/bus-server/index.ts";
import { SOURCES } from "../../service/bus-server/sources/index.ts";
import { busFolder, hasBusSettings, readBusSettings } from "../bus/bus-settings.ts";
import { readMeshFile } from "../mesh-file.ts";
import type { Check } from "./check.ts";

/** What the bus of this machine loses with the power, and whether its disk can be read by others. */
export const storage: Check = {
  name: "bus storage",
  check: async (env) => {
    const external = env["TIERMESH_NATS_URL"];
    const folder = busFolder(stateDir({ env }));
    if ((external !== undefined && external !== "") || (!hasBusSettings(folder) && readMeshFile(env) === undefined))
      return { level: "ok", says: "no bus of this machine's to look at" };
    try {
      const { sync, encrypt } = readBusSettings(folder);
      const disk = encrypt ? "encrypted" : "in clear on the disk";
      if (sync === "interval")
        return {
          level: "warn",
          says: `${disk}; what was acknowledged in the last two minutes is lost when the power fails`,
          todo: "`tiermesh bus init --sync always`, then start it again (costs a disk write for each event)",
        };
      const server = await obtainNatsServer({ env, sources: SOURCES.filter((source) => source.kind === "look") });
      if (!canSyncAlways(server.version))
        return {
          level: "warn",
          says: `${disk}; nats-server ${server.version} cannot write each message before it acknowledges it`,
          todo: "nats-server 2.10 or later can; what was acknowledged in the last two minutes is lost when the power fails",
        };
      return { level: "ok", says: `${disk}; each message is on the disk before it is acknowledged` };
    } catch (error) {
      return {
        level: "warn",
        says: error instanceof Error ? error.message : String(error),
        todo: "`tiermesh bus init` writes the settings anew",
      };
    }
  },
};
