import type { Filter } from "../types.ts";

/** Layers that the policy's `fallback_order` names, without L2 where level one's residency is local. */
export const layer: Filter = {
  name: "layer",
  reject({ layer: where }, _request, { layers, policy, tool }) {
    if (layers.includes(where)) return undefined;
    return policy.layers.any.includes(where) ? `${tool.tool}: ${tool.reason}` : `fallback_order leaves ${where} out`;
  },
};
