import { predictedMs } from "../predict.ts";
import type { Filter } from "../types.ts";

/** A node that would not begin (for batches: end) in time: its predicted time is more than is left. */
export const deadline: Filter = {
  name: "deadline",
  momentary: true,
  reject(option, request, context) {
    const leftMs = request.deadlineMs - context.nowMs;
    const needMs = predictedMs(option, request, context);
    return needMs > leftMs ? `would need ${Math.round(needMs)} ms, ${Math.round(leftMs)} ms are left` : undefined;
  },
};
