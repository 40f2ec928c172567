import { predict } from "../predict.ts";
import type { Filter } from "../types.ts";

/** A node that would not even begin in time: its predicted first token comes after the deadline. */
export const deadline: Filter = {
  name: "deadline",
  reject(option, request, context) {
    const leftMs = request.deadlineMs - context.nowMs;
    const { ttftMs, totalMs } = predict(option, request, context);
    const needMs = request.batch ? totalMs : ttftMs;
    return needMs > leftMs ? `would need ${Math.round(needMs)} ms, ${Math.round(leftMs)} ms are left` : undefined;
  },
};
