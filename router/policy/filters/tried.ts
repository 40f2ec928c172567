import type { Filter } from "../types.ts";

/** A node that refused this job or was lost with it is not asked again. */
export const tried: Filter = {
  name: "tried",
  momentary: true,
  reject: ({ view }, { exclude }) => (exclude.has(view.record.node_id) ? "was tried already" : undefined),
};
