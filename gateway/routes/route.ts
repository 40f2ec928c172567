import { MeshError } from "../../bus-schemas/index.ts";
import { asObject, pick, toCall } from "../call.ts";
import { errorAnswer } from "../openai/errors.ts";
import type { RouteFactory } from "./route-def.ts";

/** Fields of a job that bear on the decision, beside those that every call may have (call.ts). */
const FIELDS = ["model", "task", "messages", "prompt", "max_tokens"];

/**
 * SEED's `POST /route`: where a job would go, and why; nothing is run. A refusal answers with the whole decision and the
 * HTTP status of its error.
 */
export const routeRoute: RouteFactory = ({ mesh }) => ({
  method: "POST",
  path: "/route",
  handle: async (request, reply) => {
    const body = asObject(request.body);
    const { job, options } = toCall(pick(body, FIELDS), body, request.headers);
    const decision = await mesh.decide(job, options);
    if (decision.outcome === "routed") return decision;
    const error =
      decision.error === null ? new MeshError("no_node", decision.reason) : MeshError.fromWire(decision.error);
    const { status, headers } = errorAnswer(error);
    return reply.code(status).headers(headers).send(JSON.stringify(decision));
  },
});
