import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Mesh } from "../faults/mesh/mesh.ts";
import { planOf, type Plan } from "../faults/mesh/plan.ts";
import { Sabotage } from "../faults/mesh/sabotage.ts";
import { Workload } from "../faults/mesh/workload.ts";
import { takeOver } from "../faults/world/globals.ts";
import { World } from "../faults/world/world.ts";
import { trendOf } from "./trend.ts";

const HOUR_MS = 3_600_000;
/** In the first half of the time a job comes every minute; in the second only heartbeats, and what the first left must go. */
const JOB_EVERY_MS = 60_000;
/** An hour of heartbeats may leave so much in memory before it is a leak, MB. */
const LEAK_MB_PER_HOUR = 0.3;
/** How often it is looked. Milliseconds of virtual time. */
const LOOK_EVERY_MS = HOUR_MS / 4;
/** So much more may wait in a process than at the start: messages under way, and timers of a loop. */
const MORE_WAITING = 12;

const SHAPE: Partial<Plan> = {
  routers: 2,
  callers: 2,
  keepers: 1,
  faults: [],
  faultCount: 0,
  burst: false,
  byHand: 0.3,
  cancels: 0.1,
  sharedIds: 0,
  skewMs: 0,
  manners: { fails: 0.05, hangs: 0, slow: 0.05, bursts: 0.2 },
};

/**
 * A mesh's own parts on virtual time for many hours. Timers and tables of each process are counted; memory is judged over the second
 * half, for in the first the simulation itself keeps a history of each job.
 * @returns whether nothing grows
 */
export async function soakCompressed(hours: number, say: (line: string) => void): Promise<boolean> {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const realNow = performance.now.bind(performance);
  const startedMs = realNow();
  const world = new World("soak", false);
  const giveBack = takeOver(world);
  try {
    const plan: Plan = { ...planOf(world.chance.fork("plan")), ...SHAPE };
    const mesh = new Mesh(world, plan, new Sabotage());
    await world.run(5000);
    const workload = new Workload(world, plan);
    const halfMs = (hours / 2) * HOUR_MS;
    let jobs = 0;
    for (let atMs = 10_000; atMs < halfMs; atMs += JOB_EVERY_MS, jobs++)
      world.at(atMs, () => {
        const caller = mesh.callers[jobs % mesh.callers.length];
        if (caller !== undefined) caller.submit(workload.errand(caller.name));
      });
    const waiting = () => mesh.members.map(({ proc }) => (proc === undefined ? 0 : world.waiting(proc)));
    const atStart = waiting();
    const worst = [...atStart];
    const heap: [number, number][] = [];
    let leftovers: string[] = [];
    for (let atMs = LOOK_EVERY_MS; atMs <= hours * HOUR_MS; atMs += LOOK_EVERY_MS) {
      // Not at the moment of a job.
      await world.run(atMs - JOB_EVERY_MS / 2);
      for (const [i, count] of waiting().entries()) worst[i] = Math.max(worst[i] ?? 0, count);
      if (mesh.leftovers().length > leftovers.length) leftovers = mesh.leftovers();
      collect();
      if (atMs > halfMs + HOUR_MS) heap.push([atMs / HOUR_MS, process.memoryUsage().heapUsed / 2 ** 20]);
    }
    const { perHour, low, high } = trendOf(heap);
    const grown = mesh.members.filter((_, i) => (worst[i] ?? 0) > (atStart[i] ?? 0) + MORE_WAITING);
    say(`${hours} h in ${((realNow() - startedMs) / 1000).toFixed(0)} s: ${jobs} jobs, ${world.steps} steps`);
    for (const [i, { name }] of mesh.members.entries())
      say(`  ${name.padEnd(10)} timers and messages to come: ${atStart[i]} at the start, ${worst[i]} at most`);
    say(`  left in tables: ${leftovers.length === 0 ? "nothing" : leftovers.join("; ")}`);
    say(
      `  heap ${perHour.toFixed(3)} MB an hour (95 %: ${low.toFixed(3)} to ${high.toFixed(3)}) while there are only heartbeats`,
    );
    mesh.observer.close();
    return grown.length === 0 && leftovers.length === 0 && !(low > LEAK_MB_PER_HOUR) && world.thrown.length === 0;
  } finally {
    giveBack();
  }
}
