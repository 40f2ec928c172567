import { localAgents } from "../../agent/local-control/address.ts";
import { askAgent } from "../../agent/local-control/ask.ts";
import type { LocalRequest, LocalStatus } from "../../agent/local-control/protocol.ts";
import { MeshError } from "../../bus-schemas/index.ts";
import type { Environment } from "../../service/config.ts";
import { stateDir } from "../../service/paths.ts";

/**
 * Asks every agent of this machine that this user may ask, or the one of that name.
 * @throws MeshError `not_found` when there is none; what an agent says, after all were asked
 */
export async function askLocalAgents(
  env: Environment,
  request: LocalRequest,
  node: string | undefined,
): Promise<LocalStatus[]> {
  const paths = localAgents(env, stateDir({ env }));
  const asked = await Promise.allSettled(paths.map((path) => askOne(path, request, node)));
  const agents = asked.flatMap((each) => (each.status === "fulfilled" ? (each.value ?? []) : []));
  const failed = asked.find((each) => each.status === "rejected");
  // The first one that failed is told, unless the one that was meant has answered.
  if (failed !== undefined && (node === undefined || agents.length === 0)) throw MeshError.from(failed.reason);
  if (agents.length > 0) return agents;
  const wanted = node === undefined ? "no agent" : `no agent ${node}`;
  throw new MeshError(
    "not_found",
    `${wanted} runs on this machine that this user could ask; TIERMESH_HOME says whose, or start one: tiermesh agent run`,
    node === undefined ? {} : { field: "node" },
  );
}

async function askOne(path: string, request: LocalRequest, node: string | undefined): Promise<LocalStatus | undefined> {
  if (node === undefined) return askAgent(path, request);
  const there = await askAgent(path, { command: "status" });
  return there?.node_id === node ? askAgent(path, request) : undefined;
}
