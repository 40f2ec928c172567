import { UPGRADE_PROBLEMS, type Release } from "../../bus-schemas/index.ts";
import { takesJobs, type SeenNode } from "../../client/index.ts";
import type { Fleet } from "./fleet.ts";
import type { NodeFacts } from "./plan.ts";

/** Nodes are asked so many at once. */
const ASKED_AT_ONCE = 32;

/** What a plan needs of every node; those that are meant and are not there yet are asked whether they could be upgraded. */
export async function factsOf(
  fleet: Fleet,
  release: Release,
  { id, meant }: { id: string; meant: (node: SeenNode) => boolean },
): Promise<NodeFacts[]> {
  const facts: NodeFacts[] = [];
  const queue = [...fleet.nodes()];
  const next = async (): Promise<void> => {
    for (let node = queue.shift(); node !== undefined; node = queue.shift()) {
      const wanted = meant(node);
      const ask = wanted && node.record.version !== release.version;
      facts.push(factOf(node, wanted, ask ? await refusalOf(fleet, node, release, id) : undefined));
    }
  };
  await Promise.all(Array.from({ length: ASKED_AT_ONCE }, next));
  return facts.toSorted((a, b) => a.id.localeCompare(b.id));
}

function factOf({ record, state }: SeenNode, meant: boolean, refusal: NodeFacts["refusal"]): NodeFacts {
  const { layer, load, node_id: id, served_models: served, version } = record;
  const models = served.filter(({ loaded }) => loaded !== false).map(({ name }) => name);
  const running = load?.running ?? 0;
  return { id, layer, version, serves: takesJobs(state), models: [...new Set(models)], running, meant, refusal };
}

const AWAY: readonly SeenNode["state"][] = ["asleep", "left", "disconnected", "lost"];

async function refusalOf(
  fleet: Fleet,
  { record, state }: SeenNode,
  { files, version }: Release,
  id: string,
): Promise<NodeFacts["refusal"]> {
  if (AWAY.includes(state)) return { problem: "away", message: `it is ${state}; run the same again when it is back` };
  try {
    const { error, upgrade } = await fleet.order(record.node_id, {
      command: "upgrade",
      mode: "check",
      id,
      version,
      files,
      wait_seconds: 60,
    });
    if (error === null) return undefined;
    if (upgrade === null) {
      // An agent from before there were upgrades over the bus.
      if (error.code === "bad_request" && error.field === "command")
        return { problem: "unknown_order", message: "its agent does not know upgrades yet: upgrade it by hand once" };
      return { problem: "failed", message: error.message };
    }
    const problem = UPGRADE_PROBLEMS.find((each) => each === upgrade.problem) ?? "busy";
    return { problem, message: error.message };
  } catch (error) {
    return { problem: "away", message: error instanceof Error ? error.message : "it does not answer" };
  }
}
