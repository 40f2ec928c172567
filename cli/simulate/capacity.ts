import type { LoadShape } from "./arrivals.ts";
import type { FleetFile, JobKind, NodeGroup } from "./fleet-file.ts";

/**
 * Jobs a second that the company's own machines (L0 and L1) can serve at most: load 1. The cloud is left out, since it is
 * there for what they cannot. Where kinds of jobs have nodes of their own, the scarcest counts (Hall's condition).
 * @returns Infinity when only the cloud serves the jobs
 */
export function capacityPerSecond({ nodes, jobs }: Pick<FleetFile, "nodes" | "jobs">, shape: LoadShape): number {
  const all = jobs.reduce((sum, kind) => sum + kind.share, 0);
  let least = Infinity;
  for (let set = 1; set < 2 ** jobs.length; set++) {
    const kinds = jobs.filter((_, i) => (set & (1 << i)) !== 0);
    const share = kinds.reduce((sum, kind) => sum + kind.share, 0) / all;
    let perSecond = 0;
    for (const group of nodes) {
      if (group.layer === "L2") continue;
      const models = group.models.filter((model) => kinds.some((kind) => serves(kind, model.name)));
      const rates = models.map((model) => nodeCapacity(group.slots, model, shape));
      if (rates.length > 0) perSecond += group.count * Math.max(...rates);
    }
    const onlyCloud = kinds.some((kind) => !nodes.some((group) => group.layer !== "L2" && groupServes(group, kind)));
    if (!onlyCloud && share > 0) least = Math.min(least, perSecond / share);
  }
  return least;
}

function groupServes(group: NodeGroup, kind: JobKind): boolean {
  return group.models.some((model) => serves(kind, model.name));
}

function serves({ model }: JobKind, name: string): boolean {
  return model === undefined || model === name;
}

/**
 * Jobs a second at which all slots of a node are always busy. A slot is held while the job waits for the prompts before it
 * (Pollaczek and Khinchine, M/G/1), reads its own and writes its answer.
 */
function nodeCapacity(slots: number, model: NodeGroup["models"][number], shape: LoadShape): number {
  const prefillSeconds = shape.meanPromptTokens / model.prefill_tokens_per_second;
  const decodeSeconds = (shape.meanOutputTokens * model.ms_per_token) / 1000;
  const held = (perSecond: number) => {
    const busy = perSecond * prefillSeconds;
    const others = (slots - 1) / slots;
    const waitSeconds = ((busy * prefillSeconds * (1 + shape.promptVariation)) / 2 / (1 - busy)) * others;
    return perSecond * (waitSeconds + prefillSeconds + decodeSeconds);
  };
  let [low, high] = [0, 1 / Math.max(prefillSeconds, 1e-9)];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (held(middle) < slots) low = middle;
    else high = middle;
  }
  return low;
}
