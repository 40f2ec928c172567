import { checkProviders } from "../../agent/install/providers-check.ts";
import { readRecord } from "../../agent/install/record.ts";
import { MeshError } from "../../bus-schemas/index.ts";
import { placeOf } from "../agent/place.ts";
import type { Check } from "./check.ts";

/** The providers of an egress agent that is a service: whether the file is there, can be read by its account, and is one. */
export const providers: Check = {
  name: "providers",
  check: async () => {
    const { layout, machine } = placeOf();
    if (readRecord(machine, layout)?.profile !== "egress")
      return { level: "ok", says: "none: this is no egress agent" };
    try {
      return { level: "ok", says: `${await checkProviders(machine, layout)} in ${layout.configDir}/providers.yaml` };
    } catch (error) {
      return {
        level: "fail",
        says: MeshError.from(error).message,
        todo: "the agent starts by itself when it is right",
      };
    }
  },
};
