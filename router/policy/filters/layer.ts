import type { Filter } from "../types.ts";

/** Layers that the policy's `fallback_order` names, without L2 where level one's residency or the time of day says local. */
export const layer: Filter = {
  name: "layer",
  reject({ layer: where }, _request, { layers, policy, strategy, tool }) {
    if (layers.includes(where)) return undefined;
    if (!policy.layers.any.includes(where)) return `fallback_order leaves ${where} out`;
    return tool.data_residency === "local_only" || strategy !== "local_only"
      ? `${tool.tool}: ${tool.reason}`
      : `the policy keeps jobs off ${where} at this time (local_only)`;
  },
};
