import { check, type Violation } from "./checker/index.ts";
import { Faults } from "./mesh/faults.ts";
import type { History } from "./mesh/history.ts";
import { Mesh } from "./mesh/mesh.ts";
import { describe } from "./mesh/parts.ts";
import { planOf, type Plan } from "./mesh/plan.ts";
import { Sabotage } from "./mesh/sabotage.ts";
import { Workload } from "./mesh/workload.ts";
import { takeOver } from "./world/globals.ts";
import { World } from "./world/world.ts";

/** Everything is up by then, milliseconds: routers listen first. */
const STARTED_MS = 2500;
/** After this time without a fault everything must be over, milliseconds: a ticket that nobody uses is given up after 30 s. */
const HEALED_WITHIN_MS = 75_000;
/** How often it is looked whether everything is over, milliseconds. */
const LOOK_EVERY_MS = 500;
/** A fault may leave a process stopping, dialling or paused for so long; fresh jobs wait for that, milliseconds. */
const SETTLE_MS = 5000;

export interface Result {
  seed: number;
  plan: Plan;
  history: History;
  violations: Violation[];
  /** Of everything that happened, in its order. */
  hash: string;
  lines: readonly string[] | undefined;
  steps: number;
}

interface Options {
  /** Keeps the lines of what happened. */
  traced?: boolean;
  sabotage?: Sabotage;
  /** Instead of what the seed would draw. */
  plan?: Partial<Plan>;
}

/**
 * Runs one seed: a mesh starts, jobs come while faults happen, everything is healed, what is left must end, and fresh jobs
 * must finish. One at a time in a process: it replaces the process's own clock, timers and chance.
 */
export async function simulate(seed: number, options: Options = {}): Promise<Result> {
  const { traced = false, sabotage = new Sabotage(), plan: wanted } = options;
  const world = new World(String(seed), traced);
  const giveBack = takeOver(world);
  const unhandled: string[] = [];
  const onUnhandled = (error: unknown) => void unhandled.push(describe(error));
  process.on("unhandledRejection", onUnhandled);
  try {
    const plan = { ...planOf(world.chance.fork("plan")), ...wanted };
    const mesh = new Mesh(world, plan, sabotage);
    await run(mesh);
    const { history } = mesh;
    history.errors.push(...unhandled, ...world.thrown.map(describe));
    history.endedAtMs = world.nowMs;
    const { hash, lines } = world.trace;
    return { seed, plan, history, violations: check(history), hash, lines, steps: world.steps };
  } finally {
    process.off("unhandledRejection", onUnhandled);
    giveBack();
  }
}

async function run(mesh: Mesh): Promise<void> {
  const { world, plan, history } = mesh;
  await world.run(STARTED_MS);
  const workload = new Workload(world, plan);
  const callers = world.chance.fork("callers");
  const healedAtMs = STARTED_MS + plan.activeMs;
  const times = workload.times().map((afterMs) => STARTED_MS + afterMs);
  for (const atMs of times)
    world.at(atMs, () => {
      const caller = callers.pick(mesh.callers);
      caller.submit(workload.errand(caller.name));
    });
  new Faults(mesh, healedAtMs).schedule(times);
  await world.run(healedAtMs);
  world.note("healed");
  history.healedAtMs = healedAtMs;
  while (mesh.moving && world.nowMs < healedAtMs + HEALED_WITHIN_MS) await world.run(world.nowMs + LOOK_EVERY_MS);
  await world.run(world.nowMs + SETTLE_MS);
  // Jobs that hang keep their places until their deadlines.
  await untilOver(mesh, healedAtMs);
  const caller = mesh.newCaller("caller-fresh");
  await world.run(world.nowMs + 100);
  for (const dataClass of ["P0", "P1", "P2"] as const) caller.submit(workload.fresh(caller.name, dataClass));
  await world.run(world.nowMs + LOOK_EVERY_MS);
  await untilOver(mesh, healedAtMs);
  history.leftovers.push(...mesh.leftovers());
  mesh.observer.close();
}

async function untilOver(mesh: Mesh, healedAtMs: number): Promise<void> {
  const { world } = mesh;
  while (mesh.leftovers().length > 0 && world.nowMs < healedAtMs + HEALED_WITHIN_MS)
    await world.run(world.nowMs + LOOK_EVERY_MS);
}
