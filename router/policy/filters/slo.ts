import { predictedMs } from "../predict.ts";
import type { Filter } from "../types.ts";

/**
 * SEED `cloud_spillover`: at first only nodes that would meet the wanted time are looked at, through all layers, so that a
 * job goes to the cloud when the local ones would be too slow. Where none would meet it, this filter is out.
 */
export const slo: Filter = {
  name: "slo",
  momentary: true,
  reject(option, request, context) {
    if (!context.inTimeOnly) return undefined;
    const needMs = predictedMs(option, request, context);
    return needMs > request.sloMs
      ? `would need ${Math.round(needMs)} ms, ${Math.round(request.sloMs)} ms are wanted`
      : undefined;
  },
};
