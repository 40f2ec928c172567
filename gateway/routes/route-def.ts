import type { FastifyReply, FastifyRequest } from "fastify";
import type { GatewayParts } from "../parts.ts";

/** One path of the gateway. A `*` at the end of `path` matches the rest, slashes included. */
export interface RouteDef {
  method: "GET" | "POST";
  path: string;
  /** Answers by what it returns or sends; what it throws is answered by server.ts. */
  handle: (request: FastifyRequest, reply: FastifyReply) => unknown;
}

export type RouteFactory = (parts: GatewayParts) => RouteDef;
