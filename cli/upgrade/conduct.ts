import type { ConductOptions, Fleet, Tell } from "./fleet.ts";
import {
  fleetGotWorse,
  gotWorse,
  jobsGotWorse,
  lookAt,
  type JobCounts,
  type JobsBefore,
  type NodeLook,
} from "./health-gate.ts";
import { prefetch, rollBackOne, upgradeOne, type NodeEnd } from "./one-node.ts";
import type { Plan } from "./plan.ts";

const LOOK_EVERY_MS = 1000;

export interface Conducted {
  /** `done`: every batch went through. `stopped`: health dropped or nodes failed. `asked`: somebody wanted it to end. */
  end: "done" | "stopped" | "asked";
  why: string | null;
  upgraded: string[];
  /** Back on their former program, by themselves or by this run. */
  rolledBack: { node: string; why: string }[];
  /** What became of them is not known, or they could not be brought back: somebody has to look. */
  trouble: { node: string; why: string }[];
  /** Not touched. */
  left: string[];
}

/**
 * Carries a plan out, batch by batch. Ends between two batches when `stop` says so, and when health has dropped: then the batch is brought
 * back, unless that is not wanted. Never leaves a node in the middle by its own will.
 * @param before what was usual before the upgrade
 * @param stop why it is to end, as soon as the nodes under way are done; undefined = go on
 */
export async function conduct(
  fleet: Fleet,
  plan: Plan,
  options: ConductOptions,
  { before, stop, tell }: { before: JobsBefore; stop: () => string | undefined; tell: Tell },
): Promise<Conducted> {
  const context = { fleet, options, tell };
  const upgraded: string[] = [];
  const rolledBack: Conducted["rolledBack"] = [];
  const trouble: Conducted["trouble"] = [];
  const end = (how: Conducted["end"], why: string | null, from: number): Conducted => ({
    end: how,
    why,
    upgraded,
    rolledBack,
    trouble,
    left: plan.batches.slice(from).flat(),
  });
  let failures = 0;
  const looks = looksOf(fleet);
  for (const [i, batch] of plan.batches.entries()) {
    const asked = stop();
    if (asked !== undefined) return end("asked", asked, i);
    const canary = i === 0 && batch.length === 1;
    tell({ step: "batch", number: i + 1, of: plan.batches.length, nodes: batch, canary });
    const jobs = fleet.jobs();
    const ends = await Promise.all(batch.map((node) => one(context, node)));
    const good = ends.filter(({ end: how }) => how === "upgraded");
    for (const each of ends) {
      if (each.end === "upgraded") upgraded.push(each.node);
      else (each.end === "as_before" ? rolledBack : trouble).push({ node: each.node, why: each.why });
    }
    failures += batch.length - good.length;
    const [first] = ends.flatMap((each) => (each.end === "upgraded" ? [] : [`${each.node}: ${each.why}`]));
    const enough = failures > (canary ? 0 : options.maxFailures);
    const failed = enough ? first : undefined;
    const why = failed ?? (await soak(context, { looks, before, jobs, batch, touched: new Set(upgraded), stop }));
    if (why === undefined) continue;
    if (options.rollBack) await takeBack(context, good, why, { upgraded, rolledBack, trouble });
    return end("stopped", why, i + 1);
  }
  return end("done", null, plan.batches.length);
}

async function one(context: Parameters<typeof prefetch>[0], node: string): Promise<NodeEnd> {
  const { fleet, tell } = context;
  const refusal = await prefetch(context, node);
  if (refusal === undefined) return upgradeOne(context, node);
  tell({ step: "node", node, is: "failed", why: refusal });
  const from = fleet.nodes().find(({ record }) => record.node_id === node)?.record.version ?? null;
  return { node, from, end: "as_before", why: refusal };
}

/** Watches the fleet for a while. @returns why it is worse off than before */
async function soak(
  { fleet, options, tell }: Parameters<typeof prefetch>[0],
  {
    batch,
    before,
    jobs,
    looks,
    stop,
    touched,
  }: {
    looks: ReadonlyMap<string, NodeLook>;
    before: JobsBefore;
    jobs: ReturnType<Fleet["jobs"]>;
    batch: readonly string[];
    touched: ReadonlySet<string>;
    stop: () => string | undefined;
  },
): Promise<string | undefined> {
  tell({ step: "soak", seconds: options.soakMs / 1000 });
  // What the batch's nodes gave back when they were emptied is no fault of what runs there now.
  const sinceThen = fleet.jobs();
  const endMs = fleet.nowMs() + options.soakMs;
  for (;;) {
    const now = looksOf(fleet);
    for (const node of touched) {
      const look = looks.get(node);
      const worse = look === undefined ? undefined : gotWorse(look, now.get(node));
      if (worse !== undefined) return `${node}: ${worse}`;
    }
    const why =
      fleetGotWorse(looks, now, new Set([...touched, ...batch])) ??
      jobsWhy(before, { jobs, onNodes: sinceThen }, fleet.jobs(), batch);
    if (why !== undefined) return why;
    if (fleet.nowMs() >= endMs || stop() !== undefined) {
      const ended = jobsOn(batch, sinceThen, fleet.jobs());
      if (ended !== undefined) tell({ step: "soaked", nodes: [...batch], jobs: ended.ended });
      return undefined;
    }
    await fleet.pause(LOOK_EVERY_MS);
  }
}

/** What callers see since the batch began, and what its nodes do since they have the new version: routers hide a sick node from callers. */
function jobsWhy(
  before: JobsBefore,
  then: { jobs: ReturnType<Fleet["jobs"]>; onNodes: ReturnType<Fleet["jobs"]> },
  now: ReturnType<Fleet["jobs"]>,
  batch: readonly string[],
): string | undefined {
  const { jobs, onNodes } = then;
  const ofBatch = jobsOn(batch, onNodes, now);
  if (jobs === undefined || ofBatch === undefined || now === undefined) return undefined;
  const worse = jobsGotWorse(before.onNodes, ofBatch);
  return worse === undefined
    ? jobsGotWorse(before.jobs, between(jobs.all, now.all))
    : `on ${batch.join(", ")}: ${worse}`;
}

/** Of these nodes together, between two looks. */
function jobsOn(
  nodes: readonly string[],
  then: ReturnType<Fleet["jobs"]>,
  now: ReturnType<Fleet["jobs"]>,
): JobCounts | undefined {
  if (then === undefined || now === undefined) return undefined;
  const none: JobCounts = { ended: 0, failed: 0 };
  return nodes
    .map((node) => between(then.on.get(node) ?? none, now.on.get(node) ?? none))
    .reduce((sum, each) => ({ ended: sum.ended + each.ended, failed: sum.failed + each.failed }), none);
}

function between(then: JobCounts, now: JobCounts): JobCounts {
  return { ended: now.ended - then.ended, failed: now.failed - then.failed };
}

async function takeBack(
  context: Parameters<typeof prefetch>[0],
  good: readonly NodeEnd[],
  why: string,
  lists: Pick<Conducted, "upgraded" | "rolledBack" | "trouble">,
): Promise<void> {
  const back = await Promise.all(good.map(({ from, node }) => rollBackOne(context, { node, from, why })));
  for (const each of back) {
    lists.upgraded.splice(lists.upgraded.indexOf(each.node), 1);
    if (each.end !== "upgraded")
      (each.end === "as_before" ? lists.rolledBack : lists.trouble).push({ node: each.node, why: each.why });
  }
}

function looksOf(fleet: Fleet): Map<string, NodeLook> {
  return new Map(fleet.nodes().map((node) => [node.record.node_id, lookAt(node)]));
}
