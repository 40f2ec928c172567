import type { RouteRequest } from "../policy/types.ts";
import type { RoutingPolicy } from "../../bus-schemas/index.ts";
import { toRouteRequest } from "../route-request.ts";
import type { Claim } from "./claim.ts";

/**
 * A durable job as the decision sees it now. A queue's `timeout_ms` counts from here: it bounds one run, and the job's own
 * deadline all of them. Jobs of a batch for one model have a home in common, so that they go where it is warm.
 * @throws MeshError `unknown_queue`, or `deadline_exceeded`
 */
export function routeOf(claim: Claim, policy: RoutingPolicy, nowMs: number): RouteRequest {
  const { job, held, queue, jobId, exclude, msg } = claim;
  const request = toRouteRequest(
    job,
    {
      jobId,
      queue,
      headerClass: held.record.security_level,
      headerDeadlineMs: held.record.deadline_unix_ms,
      bodyBytes: msg.data.length,
      encrypted: false,
    },
    policy,
    nowMs,
  );
  const home = request.sessionId ?? (request.batch ? `batch ${queue} ${request.model ?? ""}` : undefined);
  return { ...request, sessionId: home, exclude };
}
