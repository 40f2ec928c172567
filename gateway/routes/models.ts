import { MeshError } from "../../bus-schemas/index.ts";
import { takesJobs, type SeenNode } from "../../client/index.ts";
import type { GatewayParts } from "../parts.ts";
import type { RouteFactory } from "./route-def.ts";

/** Leaves the choice of a model to the router. */
const AUTO = "auto";
const LIST_PATH = "/v1/models";

/** A model in the shape of OpenAI's list. */
function toModel(id: string, createdS: number) {
  return { id, object: "model", created: createdS, owned_by: "tiermesh" };
}

/** Names of the models that the ready nodes serve, sorted; diagnostic ones only when there is nothing else. */
export function modelNames(nodes: readonly SeenNode[]): string[] {
  const real = new Set<string>();
  const diagnostic = new Set<string>();
  for (const { record, state } of nodes) {
    if (!takesJobs(state)) continue;
    const diagnosticRuntimes = new Set(
      record.runtimes.filter((runtime) => runtime.diagnostic).map((runtime) => runtime.name),
    );
    for (const { name, runtime } of record.served_models)
      (diagnosticRuntimes.has(runtime) ? diagnostic : real).add(name);
    // SEED's own record names its models without saying which runtime serves them.
    if (record.served_models.length === 0) for (const name of record.models) real.add(name);
  }
  return [...(real.size > 0 ? real : diagnostic)].sort();
}

/** `GET /v1/models`: what can be asked for by name, and `auto`. */
export const modelsRoute: RouteFactory = ({ mesh, nowMs }) => {
  const created = startedS(nowMs);
  return {
    method: "GET",
    path: LIST_PATH,
    handle: () => ({
      object: "list",
      data: [AUTO, ...modelNames(mesh.nodes.list())].map((name) => toModel(name, created)),
    }),
  };
};

/** `GET /v1/models/:id`; ids may hold slashes, as it is or percent-encoded. */
export const modelRoute: RouteFactory = ({ mesh, nowMs }) => {
  const created = startedS(nowMs);
  return {
    method: "GET",
    path: `${LIST_PATH}/*`,
    handle: (request) => {
      const id = (request.params as { "*": string })["*"];
      if (id !== AUTO && !modelNames(mesh.nodes.list()).includes(id)) {
        throw new MeshError("model_not_found", `no node serves this model now; GET ${LIST_PATH} lists those that are`, {
          field: "model",
        });
      }
      return toModel(id, created);
    },
  };
};

/** OpenAI's list wants a moment for each model; ours is when this gateway started, which stays the same between calls. */
function startedS(nowMs: GatewayParts["nowMs"]): number {
  return Math.floor(nowMs() / 1000);
}
