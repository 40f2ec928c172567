import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { InvalidArgumentError, type Command } from "commander";
import { carryOutWish } from "../../agent/install/requested-upgrade.ts";
import { rollBackAgent, upgradeAgent } from "../../agent/install/upgrade.ts";
import { MeshError } from "../../bus-schemas/index.ts";
import { EXIT } from "../command.ts";
import { AGENT_CHECKS } from "../doctor/agent-checks.ts";
import { runChecks } from "../doctor/run.ts";
import { note, print, printJson } from "../format/terminal.ts";
import { seconds } from "../options.ts";
import { agentExamples } from "./agent-examples.ts";
import { installedEnv, placeOf } from "./place.ts";
import { tellPresence } from "./presence.ts";

interface UpgradeFlags {
  from?: string;
  signature?: string;
  sha256?: string;
  downgrade?: boolean;
  rollback?: boolean;
  requested?: boolean;
  wait: number;
  json?: boolean;
}

/** The installed service. */
export function addServiceVerbs(parent: Command): void {
  parent
    .command("logs")
    .description("the installed agent's log")
    .option("--lines <n>", "so many of the last lines", lines, 50)
    .option("--follow", "go on until Ctrl-C")
    .option("--json", "only the agent's own lines, each JSON")
    .addHelpText("after", agentExamples("tiermesh agent logs", "tiermesh agent logs --follow"))
    .action(async (flags: { lines: number; follow?: boolean; json?: boolean }) => {
      const { layout, machine, manager } = placeOf();
      const { program, args } = manager.logs(layout, {
        lines: flags.lines,
        follow: flags.follow === true,
        plain: flags.json === true,
      });
      process.exitCode = (await machine.show(program, args)) === 0 ? EXIT.ok : EXIT.failed;
    });
  parent
    .command("presence")
    .description("tell the agent when somebody was at this machine; launchd runs it in each person's session")
    .option("--json", "what was seen and told, a line of JSON for each look")
    .addHelpText("after", agentExamples("tiermesh agent presence"))
    .action(async (flags: { json?: boolean }) => {
      const stop = new AbortController();
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
      await tellPresence(process.env, stop.signal, { json: flags.json === true });
    });
  parent
    .command("upgrade")
    .description("replace the installed agent, and go back by itself when the new one does not come up")
    .option("--from <file>", "the new program")
    .option(
      "--signature <file>",
      "its signature; default: the same name with .sig, where this machine trusts a release key",
    )
    .option("--sha256 <hex>", "its SHA-256, where this machine trusts no key")
    .option("--downgrade", "take an older version too")
    .option("--rollback", "go back to the program before the last upgrade")
    .option("--requested", "do what the agent was told by `tiermesh upgrade`; the service manager runs it")
    .option("--wait <seconds>", "how long the new agent may take until it is on the bus", seconds, 60)
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      agentExamples(
        "sudo tiermesh agent upgrade --from ./tiermesh-agent-linux-x64",
        "sudo tiermesh agent upgrade --from ./agent --sha256 9f86d081…",
        "sudo tiermesh agent upgrade --rollback",
      ),
    )
    .action((flags: UpgradeFlags) => upgrade(flags));
  parent
    .command("doctor")
    .description("look for what keeps this machine's agent from working, and say what to do")
    .option("--json", "as JSON")
    .addHelpText("after", agentExamples("sudo tiermesh agent doctor", "tiermesh agent doctor --json"))
    .action(async (flags: { json?: boolean }) => {
      process.exitCode = await runChecks(AGENT_CHECKS, installedEnv(placeOf()), flags.json === true);
    });
}

async function upgrade(flags: UpgradeFlags): Promise<void> {
  const place = placeOf();
  const limitMs = flags.wait * 1000;
  const say = (line: string) => (flags.json === true ? undefined : note(`  ${line}`));
  const { from: file } = flags;
  if (flags.requested === true) {
    const outcome = await carryOutWish(place, say);
    if (outcome !== undefined && outcome.phase !== "healthy") process.exitCode = EXIT.failed;
    if (flags.json === true) printJson(outcome ?? { phase: "idle" });
    else
      print(
        outcome === undefined
          ? "nothing is asked for"
          : `${outcome.phase}${outcome.message === null ? "" : `: ${outcome.message}`}`,
      );
    return;
  }
  if (flags.rollback !== true && file === undefined)
    throw new MeshError("bad_config", "--from names the new program (or --rollback)", { field: "from" });
  const done =
    file === undefined
      ? await rollBackAgent(place, { limitMs }, say)
      : await upgradeAgent(
          place,
          {
            from: path.resolve(file),
            signature: signatureOf(file, flags.signature),
            sha256: flags.sha256,
            downgrade: flags.downgrade === true,
            limitMs,
          },
          say,
        );
  if (flags.json === true) return printJson(done);
  print(done.changed ? `${done.from} → ${done.to}` : `${done.to} is installed already`);
}

/** @throws MeshError `bad_config` when a named file cannot be read */
function signatureOf(file: string, named: string | undefined): string | undefined {
  if (named === undefined && !existsSync(`${file}.sig`)) return undefined;
  try {
    return readFileSync(named ?? `${file}.sig`, "utf8");
  } catch (cause) {
    throw new MeshError("bad_config", `the signature ${named ?? `${file}.sig`} cannot be read`, {
      field: "signature",
      cause,
    });
  }
}

function lines(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 100_000)
    throw new InvalidArgumentError("a whole number from 1 to 100000");
  return value;
}
