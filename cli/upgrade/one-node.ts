import type { ControlReply, UpgradeState } from "../../bus-schemas/index.ts";
import type { SeenNode } from "../../client/index.ts";
import type { ConductOptions, Fleet, NodeStep, Tell } from "./fleet.ts";
import { gotWorse, lookAt, type NodeLook } from "./health-gate.ts";

const LOOK_EVERY_MS = 500;
/** Beside two starts: copies, and the agent that has to take the wish up. Milliseconds. */
const EXCHANGE_SPARE_MS = 150_000;
/** A node that was suspended gives up what it runs within this time, milliseconds. */
const HAND_BACK_MS = 10_000;
const RESUME_LIMIT_MS = 20_000;
/** Begins the reason of a node that was drained for its upgrade: a run that was cut off left it so, and the next one takes it back. */
const REASON = "upgrade to ";

/** Where a node ended up. `as_before`: its former program runs. */
export type NodeEnd = { node: string; from: string | null } & (
  | { end: "upgraded" }
  | { end: "as_before" | "unknown"; why: string }
);

/** What one node's way back needs; its way forth needs all of it. */
interface Context<O = ConductOptions> {
  fleet: Fleet;
  options: O;
  tell: Tell;
}
type BackOptions = Pick<ConductOptions, "id" | "waitSeconds" | "drainMs" | "settleMs">;

/**
 * Has a node fetch the release, while it goes on serving.
 * @returns why not; undefined when it is there
 */
export async function prefetch({ fleet, options, tell }: Context, node: string): Promise<string | undefined> {
  let told = -1;
  try {
    const reply = await fleet.order(node, orderOf(options, "fetch"), ({ done_bytes: done, total_bytes: total }) => {
      const percent = Math.floor(((done ?? 0) / (total ?? 1)) * 100);
      if (percent > told) tell({ step: "node", node, is: "downloading", percent: (told = percent) });
    });
    if (reply.error !== null) return reply.error.message;
    tell({ step: "node", node, is: "downloaded" });
    return undefined;
  } catch (error) {
    return wordsOf(error);
  }
}

/** Brings one node to the release: empty, exchanged, healthy, and taking jobs again if it did before. */
export async function upgradeOne(context: Context, node: string): Promise<NodeEnd> {
  const { fleet, options, tell } = context;
  const seen = find(fleet, node);
  const from = seen?.record.version ?? null;
  const is = (step: NodeStep, why?: string) =>
    tell({ step: "node", node, is: step, ...(why === undefined ? {} : { why }) });
  if (seen === undefined) return ended(is, { node, from, end: "unknown", why: "it is gone" });
  const before = lookAt(seen);
  let drained = false;
  try {
    is("draining");
    drained = await empty(context, seen, `${REASON}${options.release.version}`);
    is("switching");
    const reply = await fleet.order(node, orderOf(options, "go"));
    if (reply.error !== null) return ended(is, { node, from, end: "as_before", why: reply.error.message });
    const last = await follow(context, node, options.id);
    if (last === "former" || last?.phase !== "healthy")
      return ended(is, await backAgain(context, { node, from, before, last }));
    is("settling");
    const worse = await settled(context, node, { before, version: options.release.version });
    if (worse === undefined) return ended(is, { node, from, end: "upgraded" });
    if (!options.rollBack)
      return ended(is, { node, from, end: "unknown", why: `${worse}; left so, as --no-rollback says` });
    return await rollBackOne(context, { node, from, why: worse });
  } catch (error) {
    return ended(is, { node, from, end: "unknown", why: wordsOf(error) });
  } finally {
    // Whatever came of it: a node that took jobs takes them again, with whichever program it has.
    if (drained) await resume(fleet, node);
  }
}

/** A node whose upgrade has failed: whether its former program runs there as it did. */
async function backAgain(
  context: Context,
  { before, from, last, node }: { node: string; from: string | null; before: NodeLook; last: Followed },
): Promise<NodeEnd> {
  const why = last === "former" ? "the new program did not come up" : (last?.message ?? "nothing is heard of it");
  if (last === undefined || (last !== "former" && last.phase === "switching"))
    return { node, from, end: "unknown", why };
  const worse = await settled(context, node, { before, version: from });
  if (worse === undefined) return { node, from, end: "as_before", why };
  return { node, from, end: "unknown", why: `${why}; and now: ${worse}` };
}

/** Brings a node that this run has upgraded back to the program that it had. */
export async function rollBackOne(
  context: Context<BackOptions>,
  { node, from, why }: { node: string; from: string | null; why: string },
): Promise<NodeEnd> {
  const { fleet, options, tell } = context;
  const is = (step: NodeStep, words?: string) =>
    tell({ step: "node", node, is: step, ...(words === undefined ? {} : { why: words }) });
  is("rolling_back", why);
  const seen = find(fleet, node);
  let drained = false;
  try {
    if (seen !== undefined) drained = await empty(context, seen, `${REASON}${from ?? "what it was"}, again`);
    const id = `${options.id}-back`;
    const reply = await fleet.order(node, { command: "rollback", id, wait_seconds: options.waitSeconds });
    if (reply.error !== null)
      return ended(is, { node, from, end: "unknown", why: `${why}; and not back: ${reply.error.message}` });
    const last = await follow(context, node, id);
    if (last === "former" || last?.phase === "healthy") {
      // So that whoever looks at the fleet next sees it.
      await within(fleet, () => find(fleet, node)?.record.version !== seen?.record.version, options.settleMs);
      return ended(is, { node, from, end: "as_before", why });
    }
    return ended(is, {
      node,
      from,
      end: "unknown",
      why: `${why}; and not back: ${last?.message ?? "nothing is heard of it"}`,
    });
  } catch (error) {
    return ended(is, { node, from, end: "unknown", why: `${why}; and not back: ${wordsOf(error)}` });
  } finally {
    if (drained) await resume(fleet, node);
  }
}

/** Of one run and node there is one order, the same for fetching and for going on. */
function orderOf({ id, release, waitSeconds }: ConductOptions, mode: "fetch" | "go") {
  return {
    command: "upgrade" as const,
    mode,
    id,
    version: release.version,
    files: release.files,
    wait_seconds: waitSeconds,
  };
}

/**
 * Lets what it runs end, and after a while move on to others. One that an operator has cordoned, drained or suspended stays so afterwards.
 * @returns whether it has to be resumed
 */
async function empty({ fleet, options }: Context<BackOptions>, seen: SeenNode, reason: string): Promise<boolean> {
  const { node_id: node, status } = seen.record;
  const takesJobs = status === "healthy" || status === "degraded";
  const leftOver = isLeftOver(seen);
  if (takesJobs) await mustObey(fleet.order(node, { command: "drain", reason }));
  const idle = () => {
    const load = find(fleet, node)?.record.load ?? null;
    return load === null || load.running + load.queued === 0;
  };
  // The next heartbeat is the first that cannot have taken a job since.
  await fleet.pause(LOOK_EVERY_MS);
  if (!(await within(fleet, idle, options.drainMs)) && (takesJobs || leftOver)) {
    await mustObey(fleet.order(node, { command: "suspend", reason }));
    await within(fleet, idle, HAND_BACK_MS);
  }
  return takesJobs || leftOver;
}

/** Whether a run that was cut off has left it without jobs. */
export function isLeftOver({ record: { status, status_reason: said } }: SeenNode): boolean {
  return (status === "draining" || status === "suspended") && said?.startsWith(REASON) === true;
}

/** Has a node take jobs again; it may be away for a moment. One that stays away is told at the next run. */
export async function resume(fleet: Fleet, node: string): Promise<void> {
  const endMs = fleet.nowMs() + RESUME_LIMIT_MS;
  for (;;) {
    const reply = await fleet.order(node, { command: "resume" }).catch(() => undefined);
    if (reply !== undefined || fleet.nowMs() >= endMs) return;
    await fleet.pause(LOOK_EVERY_MS);
  }
}

/**
 * What a node said last of its order; `former` when the agent there does not know such orders: then it is the program from before; undefined
 * when it said nothing of it.
 */
type Followed = UpgradeState | "former" | undefined;

/** Until the node says how its order ended; it is away in between. */
async function follow({ fleet, options }: Context<BackOptions>, node: string, id: string): Promise<Followed> {
  const endMs = fleet.nowMs() + 2 * options.waitSeconds * 1000 + EXCHANGE_SPARE_MS;
  let last: UpgradeState | undefined;
  while (fleet.nowMs() < endMs) {
    const reply: ControlReply | undefined = await fleet
      .order(node, { command: "upgrade-status" })
      .catch(() => undefined);
    if (reply?.error?.field === "command") return "former";
    const state = reply?.upgrade ?? undefined;
    if (state?.id === id) {
      last = state;
      if (["healthy", "rolled_back", "failed"].includes(state.phase)) return state;
    }
    await fleet.pause(LOOK_EVERY_MS);
  }
  return last;
}

/** Until its heartbeats have the version and all that was well is. @returns what is not, when the time is over */
async function settled(
  { fleet, options }: Context<BackOptions>,
  node: string,
  { before, version }: { before: NodeLook; version: string | null },
): Promise<string | undefined> {
  let why: string | undefined = "it sends no heartbeats";
  const well = () => {
    const seen = find(fleet, node);
    why =
      seen?.record.version === version
        ? gotWorse(before, lookAt(seen))
        : `its heartbeats say ${seen?.record.version ?? "nothing"}, not ${version}`;
    return why === undefined;
  };
  return (await within(fleet, well, options.settleMs)) ? undefined : why;
}

async function within(fleet: Fleet, is: () => boolean, limitMs: number): Promise<boolean> {
  const endMs = fleet.nowMs() + limitMs;
  while (!is()) {
    if (fleet.nowMs() >= endMs) return false;
    await fleet.pause(LOOK_EVERY_MS);
  }
  return true;
}

async function mustObey(order: Promise<ControlReply>): Promise<void> {
  const { error } = await order;
  if (error !== null) throw new Error(error.message);
}

function find(fleet: Fleet, node: string): SeenNode | undefined {
  return fleet.nodes().find(({ record }) => record.node_id === node);
}

function ended(is: (step: NodeStep, why?: string) => void, end: NodeEnd): NodeEnd {
  if (end.end === "upgraded") is("upgraded");
  else is(end.end === "as_before" ? "rolled_back" : "failed", end.why);
  return end;
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : "unexpected error";
}
