import { DATA_CLASSES, MeshError, type DataClass } from "../../bus-schemas/index.ts";
import type { Policy } from "../../router/policy/types.ts";
import { scaled, shapeOf, type Arrival } from "./arrivals.ts";
import { capacityPerSecond } from "./capacity.ts";
import type { FleetFile } from "./fleet-file.ts";
import { seededRandom } from "./random.ts";
import type { StrategyName } from "./strategies.ts";
import { latencies, summarise, type Summary } from "./summary.ts";
import { syntheticLoad } from "./synthetic.ts";
import { simulate, type SimOptions } from "./world.ts";

/** Shares of the data classes. */
export type ClassShares = Readonly<Record<DataClass, number>>;

/** Most jobs of one run: they are kept in memory. */
export const MAX_JOBS = 2_000_000;
/** Synthetic jobs by whose lengths the capacity is reckoned, the same for runs of any length. */
const SAMPLE_JOBS = 20_000;

/** What is to be simulated. */
export interface Plan extends Pick<SimOptions, "routers" | "heartbeatMs" | "timeoutMs" | "sessions" | "seed"> {
  fleet: FleetFile;
  policy: Policy;
  /** A recorded load; undefined = a synthetic one. */
  trace: readonly Arrival[] | undefined;
  /** Share of what the company's own machines can do. */
  load: number;
  /** How much of it: so many jobs, or as many as come in a time. */
  length: { jobs: number } | { minutes: number };
  /** Undefined = those of the fleet file. */
  classes: ClassShares | undefined;
}

/** What is offered to each strategy: the same jobs at the same times. */
export interface Offer {
  fleet: FleetFile;
  arrivals: readonly Arrival[];
  /** What L0 and L1 can do of jobs like these. */
  capacityPerSecond: number;
  jobsPerSecond: number;
}

/** One strategy's result. */
export interface StrategyRun {
  strategy: StrategyName;
  summary: Summary;
  latencies: ReturnType<typeof latencies>;
}

/** @throws MeshError `bad_config` when L0 and L1 cannot serve the jobs, or they would be too many. */
export function offer({ fleet, trace, load, length, seed, classes }: Plan): Offer {
  const lengths = trace ?? syntheticLoad(SAMPLE_JOBS, seededRandom(seed));
  const capacity = capacityPerSecond(fleet, shapeOf(lengths));
  if (!Number.isFinite(capacity) || capacity === 0)
    throw new MeshError(
      "bad_config",
      "jobs: some ask for a model that no node of L0 or L1 serves, and the load is a share of what those can do",
    );
  const jobsPerSecond = capacity * load;
  const count = "jobs" in length ? length.jobs : Math.max(1, Math.round(length.minutes * 60 * jobsPerSecond));
  if (count > MAX_JOBS)
    throw new MeshError("bad_config", `${count} jobs are more than the ${MAX_JOBS} that one run holds`);
  const raw = trace ?? syntheticLoad(count, seededRandom(seed));
  return {
    fleet: classes === undefined ? fleet : withClasses(fleet, classes),
    arrivals: scaled(raw, count, jobsPerSecond),
    capacityPerSecond: capacity,
    jobsPerSecond,
  };
}

/** Plays the offer with one strategy. The same plan gives the same result. */
export function runStrategy(
  plan: Plan,
  { fleet, arrivals }: Offer,
  strategy: StrategyName,
  onProgress: (ended: number) => void = () => undefined,
): StrategyRun {
  const { policy, routers, heartbeatMs, timeoutMs, sessions, seed } = plan;
  const setting = { fleet, policy, arrivals, routers, heartbeatMs, timeoutMs, sessions, seed };
  const result = simulate({ ...setting, strategy, onProgress });
  return { strategy, summary: summarise(result, fleet, policy), latencies: latencies(result) };
}

/** Each kind of job in these shares of classes, instead of its own class. */
function withClasses(fleet: FleetFile, classes: ClassShares): FleetFile {
  const jobs = fleet.jobs.flatMap((kind) =>
    DATA_CLASSES.map((level) => ({ ...kind, security_level: level, share: kind.share * classes[level] })),
  );
  return { ...fleet, jobs };
}
