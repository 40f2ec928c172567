import { InvalidArgumentError } from "commander";
import { MeshError } from "../../bus-schemas/index.ts";
import { pause } from "../../service/loop.ts";
import { EXIT, examples, type CommandModule } from "../command.ts";
import { kindsFor } from "../demo/kinds.ts";
import { demoReport } from "../demo/report.ts";
import { summarise } from "../demo/summary.ts";
import { runTraffic } from "../demo/traffic.ts";
import { note, print, printJson } from "../format/terminal.ts";
import { withClient } from "../with-client.ts";

/** Every node speaks once in this time, milliseconds: one heartbeat interval and its jitter. */
const ONE_ROUND_MS = 1200;
/** A new job begins this often, milliseconds, and so many run at once: beside a company's own traffic nobody notices. */
const EVERY_MS = 1000;
const AT_ONCE = 3;
const JOB_LIMIT_MS = 60_000;
const MOST_SECONDS = 3600;

export const demo: CommandModule = (program) => {
  program
    .command("demo")
    .description("a minute of gentle mixed traffic over the fleet: who served what, why, how fast, at what energy")
    .option("--seconds <n>", `for how long new jobs begin, at most ${MOST_SECONDS}`, seconds, 60)
    .option("--json", "as JSON: the summary and each job")
    .addHelpText(
      "after",
      `${examples("tiermesh demo", "tiermesh demo --seconds 10", "tiermesh demo --json > demo.json")}

Short harmless prompts of the classes P0, P1 and P2, each loaded model by its name, embeddings and rerankings where a node
can. What the fleet has no machine for is not sent and named. It ends with 1 when a job failed that a router had a place for.`,
    )
    .action((flags: { seconds: number; json?: boolean }) =>
      withClient(async (client) => {
        client.nodes.list();
        await pause(ONE_ROUND_MS);
        const fleet = client.nodes.list();
        if (fleet.length === 0)
          throw new MeshError(
            "no_node",
            "no node sends heartbeats; start an agent with `tiermesh up` or `tiermesh agent run`",
          );
        const { kinds, skipped } = await kindsFor(client, fleet);
        if (kinds.length === 0)
          throw new MeshError(
            "no_node",
            `no machine takes any of the demonstration's jobs: ${skipped[0]?.reason ?? "?"}; see tiermesh nodes, tiermesh doctor`,
          );
        const stop = new AbortController();
        process.once("SIGINT", () => stop.abort());
        if (flags.json !== true)
          note(
            `${fleet.length} nodes, ${kinds.length} kinds of jobs, ${flags.seconds} s; Ctrl-C shows what there is so far`,
          );
        let ended = 0;
        const onEnded = () => {
          ended++;
          if (flags.json !== true && process.stderr.isTTY) process.stderr.write(`\r\u001b[2K${ended} jobs ended`);
        };
        const options = {
          kinds,
          forMs: flags.seconds * 1000,
          everyMs: EVERY_MS,
          atOnce: AT_ONCE,
          limitMs: JOB_LIMIT_MS,
        };
        const jobs = await runTraffic(client, { ...options, onEnded }, stop.signal);
        if (flags.json !== true && process.stderr.isTTY) process.stderr.write("\r\u001b[2K");
        const summary = summarise(jobs);
        if (flags.json === true) printJson({ ...summary, skipped, all: jobs });
        else print(demoReport(summary, skipped));
        process.exitCode = summary.failures.length === 0 && summary.finished > 0 ? EXIT.ok : EXIT.failed;
      }),
    );
};

function seconds(text: string): number {
  const value = Number(text);
  if (!(value >= 1 && value <= MOST_SECONDS)) throw new InvalidArgumentError(`a number from 1 to ${MOST_SECONDS}`);
  return value;
}
