import type { Filter } from "../types.ts";

/** Nodes on which jobs failed in a row are spared for a while (DESIGN §3), whatever they say of themselves; rather those than none. */
export const outlier: Filter = {
  name: "outlier",
  reject: ({ view }, { lastResort }) => (lastResort === true ? undefined : view.ejected),
};
