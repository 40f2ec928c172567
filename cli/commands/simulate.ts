import { mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { Option, type Command } from "commander";
import { MeshError } from "../../bus-schemas/index.ts";
import { compilePolicy } from "../../router/policy/policy.ts";
import { examples, type CommandModule } from "../command.ts";
import { print, printJson } from "../format/terminal.ts";
import { readPolicyFile } from "../policy/source.ts";
import { policyName } from "../../service/routing-config.ts";
import { readFleetFile } from "../simulate/fleet-file.ts";
import { classShares, duration, numberUpTo, strategies, wholeNumber } from "../simulate/options.ts";
import { MAX_JOBS, offer, runStrategy, type ClassShares, type Plan, type StrategyRun } from "../simulate/plan.ts";
import { jsonReport, textReport } from "../simulate/report.ts";
import type { StrategyName } from "../simulate/strategies.ts";
import { cdfSvg, utilisationSvg } from "../simulate/svg.ts";
import { readTrace } from "../simulate/trace-file.ts";

/** The policy that ships. */
const POLICY = join(import.meta.dirname, "../../deploy/routing.yaml");
/** Enough for a p99 over ninety jobs after the warm-up. */
const DEFAULT_JOBS = 10_000;

interface SimulateFlags {
  trace?: string;
  synthetic?: boolean;
  load: number;
  routers: number;
  heartbeat: number;
  strategy?: StrategyName[];
  seed: number;
  jobs?: number;
  minutes?: number;
  timeout: number;
  policy: string;
  classes?: ClassShares;
  sessions: boolean;
  svg?: string;
  json?: boolean;
}

export const simulate: CommandModule = (program) => {
  program
    .command("simulate")
    .description("play a load through a fleet that is only described, on virtual time, with the real routing decision")
    .argument("<fleet>", "a fleet file, such as deploy/examples/fleet-unequal.yaml")
    .option("--trace <file>", "jobs from a trace: Azure's LLM trace (CSV) or Mooncake's (JSON lines)")
    .option("--synthetic", "random jobs as long as those of chats (the default)")
    .option("--load <share>", "of what L0 and L1 can do; 1 = all slots always busy", numberUpTo(20), 0.9)
    .option("--routers <count>", "how many routers share the jobs", wholeNumber(1, 100), 3)
    .addOption(
      new Option("--heartbeat <time>", "how often each node says how it is")
        .argParser(duration(100, 60_000))
        .default(1000, "1s"),
    )
    .option("--strategy <name>", "mesh (the real decision), best, random or oracle; may be given again", strategies)
    .option("--seed <number>", "the same seed gives the same output", wholeNumber(0, 1_000_000_000), 1)
    .option("--jobs <count>", `how many jobs (default: ${DEFAULT_JOBS})`, wholeNumber(1, MAX_JOBS))
    .option("--minutes <count>", "instead of --jobs: for how long jobs come, virtual time", numberUpTo(100_000))
    .addOption(
      new Option("--timeout <time>", "a job that has not ended by then expires")
        .argParser(duration(1, 86_400_000))
        .default(600_000, "10m"),
    )
    .addOption(new Option("--policy <file>", "a routing file").default(POLICY, "deploy/routing.yaml"))
    .option("--classes <shares>", "shares of the data classes, such as P0=0.1,P1=0.3,P2=0.6", classShares)
    .option("--no-sessions", "jobs do not say which conversation they belong to")
    .option("--svg <folder>", "writes simulate-latency-cdf.svg and simulate-utilisation.svg there")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples(
        "tiermesh simulate deploy/examples/fleet-unequal.yaml",
        "tiermesh simulate fleet.yaml --trace azure.csv --routers 10 --heartbeat 5s --strategy mesh --strategy random",
        "tiermesh simulate deploy/examples/fleet-manufacturer.yaml --policy deploy/examples/manufacturer.yaml --svg .",
      ),
    )
    .action(run);
};

async function run(path: string, flags: SimulateFlags, command: Command): Promise<void> {
  if (flags.trace !== undefined && flags.synthetic === true) command.error("error: --trace or --synthetic, not both");
  if (flags.jobs !== undefined && flags.minutes !== undefined) command.error("error: --jobs or --minutes, not both");
  const policy = await readPolicyFile(flags.policy);
  const plan: Plan = {
    fleet: readFleetFile(path),
    policy: compilePolicy(policy.config, policyName(basename(flags.policy), policy.text)),
    trace: flags.trace === undefined ? undefined : readTrace(flags.trace),
    load: flags.load,
    length: flags.minutes === undefined ? { jobs: flags.jobs ?? DEFAULT_JOBS } : { minutes: flags.minutes },
    classes: flags.classes,
    routers: flags.routers,
    heartbeatMs: flags.heartbeat,
    timeoutMs: flags.timeout,
    sessions: flags.sessions,
    seed: flags.seed,
  };
  const offered = offer(plan);
  const runs = (flags.strategy ?? ["mesh", "oracle"]).map((strategy) => {
    const result = runStrategy(plan, offered, strategy, (ended) =>
      showProgress(`${strategy}: ${Math.round((100 * ended) / offered.arrivals.length)} % of the jobs have ended`),
    );
    showProgress("");
    return result;
  });
  if (flags.svg !== undefined) writePictures(flags.svg, plan, runs);
  if (flags.json === true) printJson(jsonReport(plan, offered, runs));
  else print(textReport(plan, offered, runs));
}

/** One line that is written over, for people only. */
function showProgress(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001B[K${line}`);
}

/** @throws MeshError `bad_config` naming the folder. */
function writePictures(folder: string, plan: Plan, runs: readonly StrategyRun[]): void {
  const { fleet, load, routers, heartbeatMs } = plan;
  const what = `${fleet.title}, load ${load}, ${routers} routers, heartbeats of ${heartbeatMs / 1000} s`;
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "simulate-latency-cdf.svg"), cdfSvg(`Time to the end: ${what}`, runs));
    writeFileSync(join(folder, "simulate-utilisation.svg"), utilisationSvg(`Busy slots: ${what}`, runs));
  } catch (cause) {
    throw new MeshError("bad_config", `${folder}: the pictures cannot be written there`, { cause });
  }
}
