import { takesJobs } from "../../client/index.ts";
import { VERSION } from "../../service/version.ts";
import type { RouteFactory } from "./route-def.ts";

/**
 * SEED's `GET /health`: whether a job sent now would be taken. 200 while the bus is connected and a router answers,
 * `degraded` when no node takes jobs; else 503. `missing` says what is not there.
 */
export const healthRoute: RouteFactory = ({ mesh, state }) => ({
  method: "GET",
  path: "/health",
  handle: (_request, reply) => {
    const nodes = mesh.nodes.list().filter((node) => node.state !== "left");
    const readyNodes = nodes.filter(({ state }) => takesJobs(state)).length;
    const { busConnected, routers } = state;
    const missing = [
      ...(busConnected ? [] : ["bus"]),
      ...(routers > 0 ? [] : ["router"]),
      ...(readyNodes > 0 ? [] : ["ready node"]),
    ];
    const available = busConnected && routers > 0;
    const status = !available ? "unavailable" : readyNodes > 0 ? "ok" : "degraded";
    void reply.code(available ? 200 : 503);
    return { status, nodes: nodes.length, ready_nodes: readyNodes, routers, missing, version: VERSION };
  },
});
