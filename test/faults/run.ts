/**
 * `npm run faults -- --seeds 1000 [--from N]`: runs so many seeds and says which break a rule, with the command that replays one:
 * `npm run faults -- --seed N [--trace]`. Exits with 1 when one does.
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { Worker, isMainThread, parentPort } from "node:worker_threads";
import type { Violation } from "./checker/index.ts";
import { simulate } from "./simulate.ts";

/** Seeds that a worker gets at a time. */
const AT_A_TIME = 20;
/** Progress is said after so many seeds. */
const SAY_EVERY = 500;
/** So many seeds that break a rule are shown in full. */
const SHOWN = 10;

/** What a worker says of one seed. */
interface Report {
  seed: number;
  violations: Violation[];
  steps: number;
  jobs: number;
  runs: number;
  faults: number;
  virtualMs: number;
}

if (isMainThread) process.exitCode = await main();
else serve();

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seeds: { type: "string", default: "1000" },
      from: { type: "string", default: "1" },
      seed: { type: "string" },
      trace: { type: "boolean", default: false },
      workers: { type: "string", default: String(availableParallelism()) },
    },
  });
  const number = (name: "seeds" | "from" | "workers") => {
    const value = Number(values[name]);
    if (!Number.isSafeInteger(value) || value < 1) throw new RangeError(`--${name}: a whole number from 1`);
    return value;
  };
  if (values.seed !== undefined) return one(Number(values.seed), values.trace);
  return many(number("from"), number("seeds"), number("workers"));
}

/** One seed, all that happened in it where that is wanted. */
async function one(seed: number, traced: boolean): Promise<number> {
  const { violations, lines, hash, plan, history, steps } = await simulate(seed, { traced });
  for (const line of lines ?? []) console.log(line);
  const { routers, agents, callers, faults } = plan;
  console.log(`seed ${seed}: ${routers} routers, ${agents.length} agents, ${callers} callers; ${faults.join(", ")}`);
  for (const { atMs, untilMs, kind, who } of history.disturbances)
    console.log(`  ${kind} of ${who} from ${atMs.toFixed(1)} to ${untilMs.toFixed(1)} ms`);
  for (const { rule, what } of violations) console.log(`broken: ${rule}\n  ${what}`);
  console.log(`${history.jobs.length} jobs, ${steps} steps, trace ${hash}, ${violations.length} violations`);
  return violations.length === 0 ? 0 : 1;
}

async function many(from: number, seeds: number, workers: number): Promise<number> {
  const startedMs = performance.now();
  const total = { seeds: 0, steps: 0, jobs: 0, runs: 0, faults: 0, virtualMs: 0 };
  const failed: number[] = [];
  let next = from;
  const take = () => {
    const first = next;
    next = Math.min(from + seeds, next + AT_A_TIME);
    return Array.from({ length: next - first }, (_, i) => first + i);
  };
  const onReport = ({ seed, steps, jobs, runs, faults, virtualMs, violations }: Report) => {
    total.seeds++;
    total.steps += steps;
    total.jobs += jobs;
    total.runs += runs;
    total.faults += faults;
    total.virtualMs += virtualMs;
    if (violations.length > 0 && failed.push(seed) <= SHOWN) {
      console.log(`seed ${seed} fails; replay it: npm run faults -- --seed ${seed} --trace`);
      for (const { rule, what } of violations.slice(0, 5)) console.log(`  ${rule}: ${what.slice(0, 300)}`);
    }
    if (total.seeds % SAY_EVERY === 0) console.log(`${total.seeds} of ${seeds} seeds, ${failed.length} failed`);
  };
  await Promise.all(Array.from({ length: workers }, () => work(take, onReport)));
  const seconds = (performance.now() - startedMs) / 1000;
  const hours = total.virtualMs / 3_600_000;
  console.log(
    `${total.seeds} seeds in ${seconds.toFixed(1)} s (${((1000 * seconds) / total.seeds).toFixed(1)} s per 1000): ` +
      `${total.jobs} jobs, ${total.runs} runs, ${total.faults} faults, ${total.steps} steps, ${hours.toFixed(1)} h of virtual time`,
  );
  console.log(`${total.seeds - failed.length} passed, ${failed.length} failed`);
  return failed.length === 0 ? 0 : 1;
}

/** One worker, until no seeds are left for it. */
async function work(take: () => number[], onReport: (report: Report) => void): Promise<void> {
  const worker = new Worker(new URL(import.meta.url));
  try {
    await new Promise<void>((resolve, reject) => {
      const give = () => {
        const seeds = take();
        if (seeds.length === 0) return resolve();
        worker.postMessage(seeds);
      };
      worker.on("error", reject);
      worker.on("message", (reports: Report[]) => {
        reports.forEach(onReport);
        give();
      });
      give();
    });
  } finally {
    await worker.terminate();
  }
}

function serve(): void {
  parentPort?.on("message", (seeds: number[]) => {
    void (async () => {
      const reports: Report[] = [];
      for (const seed of seeds) {
        const { violations, steps, history } = await simulate(seed);
        const { jobs, runs, disturbances, endedAtMs } = history;
        const counts = { jobs: jobs.length, runs: runs.length, faults: disturbances.length, virtualMs: endedAtMs };
        reports.push({ seed, violations, steps, ...counts });
      }
      parentPort?.postMessage(reports);
    })();
  });
}
