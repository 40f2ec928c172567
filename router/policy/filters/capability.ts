import { capabilitiesOf } from "../capabilities.ts";
import type { Filter } from "../types.ts";

/** What the job needs and the model cannot. A model of which nothing is known is taken for a text model. */
export const capability: Filter = {
  name: "capability",
  reject(option, { capabilities }, { policy }) {
    if (capabilities.length === 0) return undefined;
    const has = capabilitiesOf(option, policy);
    const missing = capabilities.filter((name) => !has.includes(name));
    return missing.length === 0 ? undefined : `lacks ${missing.join(", ")}`;
  },
};
