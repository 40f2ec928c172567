import { MeshError, type UpgradeProblem } from "../../bus-schemas/index.ts";

/** What the plan is made from, of one node. */
export interface NodeFacts {
  id: string;
  layer: string;
  /** null from agents that do not tell. */
  version: string | null;
  /** Takes jobs now. */
  serves: boolean;
  /** Models in its memory, or that it serves where runtimes do not say. */
  models: readonly string[];
  running: number;
  /** It is meant by the filters. */
  meant: boolean;
  /** Why it cannot be upgraded, by its own word or because it is not there. */
  refusal: { problem: UpgradeProblem | "unknown_order" | "away"; message: string } | undefined;
}

/** So many nodes at once: a number, or a share of those that are upgraded. */
export type BatchSize = { nodes: number } | { share: number };

export interface Plan {
  version: string;
  /** The first one is the canary alone. */
  batches: string[][];
  /** Meant, and there already. */
  already: string[];
  cannot: { id: string; problem: string; message: string }[];
}

/**
 * Who is upgraded when: one canary first, then batches. What a model's, or a layer's, last nodes are is not taken out at once where that
 * can be helped; the only node of a model goes in its turn like any other.
 * @throws MeshError `not_found` when the canary that was named is not among those to be upgraded
 */
export function makePlan(
  nodes: readonly NodeFacts[],
  { batch, canary, version }: { batch: BatchSize; canary?: string | undefined; version: string },
): Plan {
  const meant = nodes.filter((node) => node.meant);
  const already = meant.filter((node) => node.version === version).map(({ id }) => id);
  const rest = meant.filter((node) => node.version !== version);
  const cannot = rest.flatMap(({ id, refusal }) => (refusal === undefined ? [] : [{ id, ...refusal }]));
  const todo = rest.filter(({ refusal }) => refusal === undefined);
  const holders = holdersOf(nodes);
  const first = canary === undefined ? pickCanary(todo, holders) : todo.find(({ id }) => id === canary);
  if (canary !== undefined && first === undefined && !already.includes(canary))
    throw new MeshError("not_found", `${canary} is none of the nodes that would be upgraded`, { field: "canary" });
  if (first === undefined && todo.length === 0) return { version, batches: [], already, cannot };
  // A canary that is there already has been one.
  const others = todo.filter((node) => node !== first);
  const size = "nodes" in batch ? batch.nodes : Math.max(1, Math.floor(todo.length * batch.share));
  const batches = [...(first === undefined ? [] : [[first.id]]), ...fill(others, size, holders)];
  return { version, batches, already, cannot };
}

/** Which nodes serve each model, and each layer. */
function holdersOf(nodes: readonly NodeFacts[]): Map<string, Set<string>> {
  const holders = new Map<string, Set<string>>();
  for (const { id, serves, ...node } of nodes)
    if (serves) for (const what of needsOf(node)) holders.set(what, (holders.get(what) ?? new Set<string>()).add(id));
  return holders;
}

function needsOf({ layer, models }: Pick<NodeFacts, "layer" | "models">): string[] {
  return [`layer ${layer}`, ...models.map((model) => `model ${model}`)];
}

/** One that others can stand in for, with little to do. */
function pickCanary(todo: readonly NodeFacts[], holders: Map<string, Set<string>>): NodeFacts | undefined {
  const alone = (node: NodeFacts) => needsOf(node).filter((what) => (holders.get(what)?.size ?? 0) < 2).length;
  const cost = (node: NodeFacts) => [node.serves ? 0 : 1, alone(node), node.running];
  return todo.toSorted((a, b) => {
    const [left, right] = [cost(a), cost(b)];
    const at = left.findIndex((value, i) => value !== right[i]);
    return at === -1 ? a.id.localeCompare(b.id) : (left[at] ?? 0) - (right[at] ?? 0);
  })[0];
}

function fill(todo: readonly NodeFacts[], size: number, holders: Map<string, Set<string>>): string[][] {
  const batches: string[][] = [];
  let left = [...todo];
  while (left.length > 0) {
    const batch: NodeFacts[] = [];
    for (const node of left) {
      if (batch.length >= size) break;
      if (batch.length === 0 || leavesSome(batch, node, holders)) batch.push(node);
    }
    batches.push(batch.map(({ id }) => id));
    left = left.filter((node) => !batch.includes(node));
  }
  return batches;
}

/** Whether, with this node out as well, somebody still serves what it serves. */
function leavesSome(batch: readonly NodeFacts[], node: NodeFacts, holders: Map<string, Set<string>>): boolean {
  const out = new Set([...batch, node].map(({ id }) => id));
  return needsOf(node).every((what) => {
    const all = [...(holders.get(what) ?? [])];
    // It is the only one, or serves nothing now: nothing can be helped.
    return all.length < 2 || all.some((id) => !out.has(id));
  });
}
