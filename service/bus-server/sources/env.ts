import { MeshError } from "../../../bus-schemas/index.ts";
import { readServerVersion } from "../server-version.ts";
import type { Source } from "./source.ts";
import { checkBinary } from "./store.ts";

/** `NATS_SERVER`: the path of a server, chosen by a person; a path that does not work is an error, not a shrug. */
export const envSource: Source = {
  name: "NATS_SERVER",
  kind: "look",
  advice: "set NATS_SERVER to the path of a nats-server",
  async obtain({ env }, signal) {
    const binary = env["NATS_SERVER"];
    if (binary === undefined || binary === "") return { none: "NATS_SERVER is not set" };
    if ((await readServerVersion(binary, signal)) === undefined) {
      throw new MeshError("bad_config", `NATS_SERVER: ${binary} does not run here as a nats-server`, {
        field: "NATS_SERVER",
      });
    }
    return checkBinary(binary, signal);
  },
};
