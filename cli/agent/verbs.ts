import { Option, type Command } from "commander";
import { fingerprintOf } from "../../agent/invitation.ts";
import { joinMesh, readMember } from "../../agent/membership.ts";
import { probeOnce } from "../../agent/probes/once.ts";
import { PROFILES, type Profile } from "../../agent/manners/settings.ts";
import { MeshError } from "../../bus-schemas/index.ts";
import { pause } from "../../service/loop.ts";
import { stateDir } from "../../service/paths.ts";
import { agentExamples } from "./agent-examples.ts";
import { addInstallVerbs } from "./install-verbs.ts";
import { addOwnerVerbs } from "./owner-verbs.ts";
import { probed } from "../format/probed.ts";
import { note, print, printJson } from "../format/terminal.ts";
import { addServiceVerbs } from "./service-verbs.ts";
import { readSecret } from "../secret-input.ts";

/** Tools that wake every card first take seconds at their first call. Milliseconds. */
const PROBE_LIMIT_MS = 30_000;
const PROBE_AGAIN_MS = 5000;

/** What `tiermesh agent` and the single executable `tiermesh-agent` can do. */
export function addAgentVerbs(command: Command): void {
  addInstallVerbs(command);
  addServiceVerbs(command);
  command
    .command("run")
    .description("run this machine's agent until Ctrl-C")
    .option("--join <token>", "join by this token first, unless this machine has joined; - reads standard input")
    .addOption(new Option("--profile <profile>", "how it behaves towards who sits at the machine").choices(PROFILES))
    .option("--json", "no line for people, only the agent's own JSON lines")
    .addHelpText(
      "after",
      agentExamples(
        "tiermesh agent run --join tmjoin_…          # the first time",
        "tiermesh agent run                          # later",
        "tiermesh agent run --profile server         # nobody sits at this machine",
        "TIERMESH_PROVIDERS=providers.yaml tiermesh agent run   # a node of layer L2",
      ),
    )
    .action(async (flags: { join?: string; profile?: Profile; json?: boolean }) => {
      if (flags.profile !== undefined) process.env["TIERMESH_PROFILE"] = flags.profile;
      const directory = stateDir();
      const known = readMember(directory);
      if (known !== undefined && flags.join !== undefined)
        note(`this machine is ${known.node_id} already; the token is not used (to join anew: tiermesh node join)`);
      if (known === undefined && flags.join !== undefined) {
        const name = process.env["TIERMESH_NODE_ID"];
        await joinMesh(await readSecret(flags.join), directory, name === "" ? undefined : name);
      }
      const member = readMember(directory);
      if (member === undefined && (process.env["TIERMESH_NATS_URL"] ?? "") === "")
        throw new MeshError(
          "bad_config",
          "this machine has not joined a mesh: get a token there (tiermesh node add NAME --layer L1), then tiermesh agent run --join TOKEN",
        );
      if (flags.json !== true && member !== undefined && member.waiting !== null)
        note(`asks to be let in as ${member.node_id}: tiermesh node approve, fingerprint ${fingerprintOf(member)}`);
      else if (flags.json !== true && member !== undefined)
        note(`agent of ${member.node_id}, ${member.layer}, on ${member.urls.join(", ")}; Ctrl-C stops it`);
      await import("../../agent/main.ts");
    });
  addOwnerVerbs(command);
  command
    .command("probe")
    .description("what this machine's agent sees of it, and how it knows; again every few seconds until Ctrl-C")
    .option("--once", "look once and end")
    .option("--json", "as JSON, one document for each look")
    .addHelpText("after", agentExamples("tiermesh agent probe --once", "tiermesh agent probe --once --json"))
    .action(async (flags: { once?: boolean; json?: boolean }) => {
      const stop = new AbortController();
      process.once("SIGINT", () => stop.abort());
      do {
        const seen = await probeOnce(
          { stateDir: stateDir() },
          AbortSignal.any([stop.signal, AbortSignal.timeout(PROBE_LIMIT_MS)]),
        );
        if (stop.signal.aborted) return;
        if (flags.json === true) printJson(seen);
        else print(probed(seen));
        if (flags.once !== true) await pause(PROBE_AGAIN_MS, stop.signal);
      } while (flags.once !== true && !stop.signal.aborted);
    });
}
