import { FILTERS } from "./filters/index.ts";
import type { DecisionContext, Filter, Option, RouteRequest } from "./types.ts";

/** The filter that removes this option first, with its reason; undefined when it may run the job. */
export function rejection(
  option: Option,
  request: RouteRequest,
  context: DecisionContext,
): { filter: Filter; reason: string } | undefined {
  for (const filter of FILTERS) {
    const reason = filter.reject(option, request, context);
    if (reason !== undefined) return { filter, reason };
  }
  return undefined;
}
