import { createInterface } from "node:readline/promises";
import { InvalidArgumentError } from "commander";
import { isOlder } from "../../agent/install/version-order.ts";
import { LAYERS, MeshError, type Release } from "../../bus-schemas/index.ts";
import type { MeshClient } from "../../client/index.ts";
import { newId } from "../../service/ids.ts";
import { pause } from "../../service/loop.ts";
import { ReleaseStream } from "../../service/release-stream.ts";
import { EXIT, examples, type CommandModule } from "../command.ts";
import { note, print } from "../format/terminal.ts";
import { isMeant, oneMore, oneMoreOf, oneMoreState, wantedLabel, type NodeFilter } from "../nodes/filter.ts";
import { seconds, subjectToken } from "../options.ts";
import { operator } from "../policy/source.ts";
import { conduct, type Conducted } from "../upgrade/conduct.ts";
import { factsOf } from "../upgrade/facts.ts";
import type { Fleet } from "../upgrade/fleet.ts";
import { takeUpgradeLock } from "../upgrade/lock.ts";
import { isAboutJobs, jobsBefore, meshFleet } from "../upgrade/mesh-fleet.ts";
import { isLeftOver, resume } from "../upgrade/one-node.ts";
import { makePlan, type BatchSize, type Plan } from "../upgrade/plan.ts";
import { endLines, planLines, teller } from "../upgrade/report.ts";
import { withClient } from "../with-client.ts";

/** Every node speaks once in this time, milliseconds. */
const ONE_ROUND_MS = 1500;
/** Beside those of every command: ended between two batches because somebody wanted it to. */
const EXIT_ASKED = 3;
const NOTHING_BEFORE = { jobs: { ended: 0, failed: 0 }, onNodes: { ended: 0, failed: 0 } };

interface Flags extends NodeFilter {
  release?: string;
  batch: BatchSize;
  canary?: string;
  maxFailures: number;
  soak: number;
  wait: number;
  drain: number;
  settle: number;
  rollback: boolean;
  dryRun?: boolean;
  watch?: boolean;
  yes?: boolean;
  json?: boolean;
}

export const upgrade: CommandModule = (program) => {
  program
    .command("upgrade")
    .description("bring the agents of the fleet to a release, one canary first, then in batches; goes back by itself")
    .option("--release <version>", "default: the highest one that the bus keeps")
    .option("--batch <size>", "nodes at once after the canary: a number, or a share as 10%", batchSize, { share: 0.1 })
    .option("--canary <node>", "the first one; default: one that others can stand in for", subjectToken)
    .option("--state <state>", "only nodes in this state, as in tiermesh nodes", oneMoreState)
    .option("--layer <layer>", `only nodes of this layer: ${LAYERS.join(", ")}`, oneMoreOf(LAYERS))
    .option("--label <label>", "only nodes with this label: KEY=VALUE, or KEY; said twice both count", wantedLabel)
    .option("--profile <profile>", "only nodes that behave as workstation, server or egress", oneMore)
    .option("--max-failures <n>", "so many nodes may fail, each back by itself; never the canary", wholeNumber, 0)
    .option("--soak <seconds>", "how long the fleet is watched after each batch", seconds, 30)
    .option("--wait <seconds>", "how long a new program may take until it is on the bus", waitSeconds, 60)
    .option("--drain <seconds>", "how long a node's jobs may take to end before they move to others", seconds, 120)
    .option("--settle <seconds>", "how long runtimes and GPUs may take to be as before", seconds, 120)
    .option("--no-rollback", "leave a batch as it is when health drops")
    .option("--dry-run", "only show the plan")
    .option("--watch", "tell how far downloads are, too")
    .option("--yes", "do not ask")
    .option("--json", "as JSON: the plan, then a line for each step, then how it ended")
    .addHelpText(
      "after",
      `${examples(
        "tiermesh release add out/tiermesh-agent-linux-x64",
        "tiermesh upgrade --dry-run",
        "tiermesh upgrade --batch 10% --canary pc-7",
        "tiermesh upgrade --release 0.3.0 --layer L1 --batch 1 --soak 300 --yes --json",
      )}\n\nExit codes: 0 all are there, 1 refused, or health dropped, 2 wrong usage, 3 ended between two batches by Ctrl-C.`,
    )
    .action((flags: Flags) => withClient((client) => upgradeFleet(client, flags), isAboutJobs));
};

async function upgradeFleet(client: MeshClient, flags: Flags): Promise<void> {
  const fleet = await meshFleet(client);
  const release = await releaseOf(await ReleaseStream.open(client.bus), flags.release);
  const id = newId();
  fleet.nodes();
  await pause(ONE_ROUND_MS);
  const plan = await planOf(fleet, release, id, flags);
  if (flags.json === true) printLine({ plan });
  else print(planLines(plan).join("\n"));
  if (flags.dryRun === true) return;
  // Nodes that a run which was cut off has upgraded, and not given their jobs back.
  const left = fleet.nodes().filter((node) => plan.already.includes(node.record.node_id) && isLeftOver(node));
  if (plan.batches.length + left.length === 0) {
    if (plan.cannot.length > 0) process.exitCode = EXIT.failed;
    return;
  }
  if (flags.yes !== true && plan.batches.length > 0) await confirm(plan);
  const lock = await takeUpgradeLock(client.bus, { by: operator(), id, version: release.version });
  const interrupt = followInterrupts();
  try {
    for (const { record } of left) await resume(fleet, record.node_id);
    const hears = fleet.jobs() !== undefined;
    const before = hears ? await jobsBefore(client) : NOTHING_BEFORE;
    if (!hears) note("your key hears of no jobs (separate duties): only the nodes' health counts");
    const options = {
      release,
      id,
      waitSeconds: flags.wait,
      drainMs: flags.drain * 1000,
      settleMs: flags.settle * 1000,
      soakMs: flags.soak * 1000,
      maxFailures: flags.maxFailures,
      rollBack: flags.rollback,
    };
    const stop = () => interrupt.asked() ?? lock.lost();
    const tell = flags.json === true ? printLine : teller(flags.watch === true);
    const ended = await conduct(fleet, plan, options, { before, stop, tell });
    if (flags.json === true) printLine({ ...ended, cannot: plan.cannot, already: plan.already });
    else print(endLines(ended, release.version).join("\n"));
    process.exitCode = interrupt.asked() !== undefined && ended.end === "asked" ? EXIT_ASKED : exitCodeOf(ended, plan);
  } finally {
    interrupt.end();
    await lock.release();
  }
}

async function planOf(fleet: Fleet, release: Release, id: string, flags: Flags): Promise<Plan> {
  const facts = await factsOf(fleet, release, { id: `${id}-check`, meant: (node) => isMeant(node, flags) });
  return makePlan(facts, { batch: flags.batch, canary: flags.canary, version: release.version });
}

async function releaseOf(stream: ReleaseStream, version: string | undefined): Promise<Release> {
  const all = await stream.list();
  const [first] = all.toSorted((a, b) => (isOlder(a.version, b.version) ? 1 : -1));
  const found = version === undefined ? first : all.find((release) => release.version === version);
  if (found !== undefined) return found;
  throw new MeshError(
    "not_found",
    version === undefined
      ? "the bus keeps no release; bring one by tiermesh release add"
      : `the bus keeps no release ${version}; tiermesh release list shows those that there are`,
    { field: "release" },
  );
}

function exitCodeOf({ end, rolledBack, trouble }: Conducted, { cannot }: Plan): number {
  return end === "done" && rolledBack.length + trouble.length + cannot.length === 0 ? EXIT.ok : EXIT.failed;
}

/** The first Ctrl-C ends it after the nodes that are under way; the second at once. */
function followInterrupts(): { asked: () => string | undefined; end: () => void } {
  let asked: string | undefined;
  const onSignal = () => {
    if (asked !== undefined) {
      note(
        "ended at once: nodes under way end their exchange by themselves, and may be left drained; run the same again",
      );
      process.exit(EXIT_ASKED);
    }
    asked = "Ctrl-C";
    note("ends when the nodes that are under way are done; Ctrl-C again ends at once");
  };
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) process.on(signal, onSignal);
  return {
    asked: () => asked,
    end: () => {
      for (const signal of signals) process.off(signal, onSignal);
    },
  };
}

/** @throws MeshError `bad_request` when nobody can be asked, `cancelled` when the answer is no */
async function confirm({ batches, version }: Plan): Promise<void> {
  const question = `upgrade ${batches.flat().length} nodes to ${version}`;
  if (!process.stdin.isTTY)
    throw new MeshError("bad_request", `${question}: say --yes where nobody can be asked`, { field: "yes" });
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question(`${question}? [y/N] `).finally(() => terminal.close());
  if (!/^y(es)?$/i.test(answer.trim())) throw new MeshError("cancelled", "nothing was upgraded");
}

/** `10%` or `3`. @throws InvalidArgumentError */
export function batchSize(text: string): BatchSize {
  const [, number = "", percent] = /^(\d{1,5}(?:\.\d+)?)(%?)$/.exec(text) ?? [];
  const value = Number(number);
  if (percent === "%" && value > 0 && value <= 100) return { share: value / 100 };
  if (percent === "" && Number.isInteger(value) && value >= 1) return { nodes: value };
  throw new InvalidArgumentError("a number of nodes from 1 on, or a share such as 10%");
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!/^\d{1,5}$/.test(text)) throw new InvalidArgumentError("a whole number from 0 on");
  return value;
}

function waitSeconds(text: string): number {
  const value = seconds(text);
  if (value < 1 || value > 600) throw new InvalidArgumentError("1 to 600 seconds");
  return value;
}

function printLine(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
