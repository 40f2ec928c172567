import type { Candidate } from "../../bus-schemas/index.ts";
import { rejection } from "./reject.ts";
import { shownTerms } from "./score.ts";
import type { DecisionContext, Option, RouteRequest } from "./types.ts";

/** What became of the options that were looked at. */
export interface Survey {
  /** The first of them. */
  candidates: Candidate[];
  /** All of them: filter → how many it removed. */
  rejectedBy: Record<string, number>;
}

/** Looks at options for people: each with the filter that removed it, or its score. At most `limit` are listed, all count. */
export function survey(
  options: Iterable<Option>,
  request: RouteRequest,
  context: DecisionContext,
  limit: number,
): Survey {
  const candidates: Candidate[] = [];
  const rejectedBy: Record<string, number> = {};
  for (const option of options) {
    const rejected = rejection(option, request, context);
    if (rejected !== undefined) rejectedBy[rejected.filter.name] = (rejectedBy[rejected.filter.name] ?? 0) + 1;
    if (candidates.length === limit) continue;
    candidates.push({
      node_id: option.view.record.node_id,
      layer: option.layer,
      model: option.served.name,
      rejected: rejected === undefined ? null : { filter: rejected.filter.name, reason: rejected.reason.slice(0, 300) },
      score: rejected === undefined ? shownTerms(option, request, context) : null,
    });
  }
  return { candidates, rejectedBy };
}
