import { readFileSync } from "node:fs";
import { Option, type Command } from "commander";
import { isSingleExecutable } from "../../agent/entries.ts";
import { checkFormat } from "../../agent/install/executable-format.ts";
import { installAgent, type Installed } from "../../agent/install/install.ts";
import { isForUpgrades } from "../../agent/install/service-manager.ts";
import { checkToken, joinAsService } from "../../agent/install/join.ts";
import { checkPrivileged } from "../../agent/install/preflight.ts";
import { uninstallAgent } from "../../agent/install/uninstall.ts";
import { fingerprintOf } from "../../agent/invitation.ts";
import { joinMesh } from "../../agent/membership.ts";
import { PROFILES, type Profile } from "../../agent/manners/settings.ts";
import { MeshError } from "../../bus-schemas/index.ts";
import { stateDir } from "../../service/paths.ts";
import { runCommand } from "../../service/run-command.ts";
import { VERSION } from "../../service/version.ts";
import { note, print, printJson } from "../format/terminal.ts";
import { readSecret } from "../secret-input.ts";
import { agentExamples } from "./agent-examples.ts";
import { executableToInstall, placeOf, wrapperToInstall } from "./place.ts";

interface InstallFlags {
  join?: string;
  joinFile?: string;
  profile?: Profile;
  executable?: string;
  releaseKey?: string;
  wrapper?: string;
  root?: string;
  start: boolean;
  json?: boolean;
}

/** The program itself: into the machine, out of it, and into a mesh. */
export function addInstallVerbs(parent: Command): void {
  parent
    .command("install")
    .description("make this machine's agent a service that starts with it; again, it changes only what differs")
    .option("--join <token>", "join the mesh with this token, unless this machine has joined; - reads standard input")
    .addOption(new Option("--join-file <file>", "the same with the token in a file").conflicts("join"))
    .addOption(new Option("--profile <profile>", "how it behaves towards who sits at the machine").choices(PROFILES))
    .option("--release-key <file>", "public Ed25519 key (PEM) that upgrades have to be signed by from now on")
    .option("--no-start", "do not start it now")
    .option("--executable <file>", "the single executable to install; default: this one")
    .option("--wrapper <file>", "on Windows: WinSW, which runs programs as services")
    .option("--root <folder>", "install into the image of a machine in this folder; nothing is started")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      agentExamples(
        "sudo tiermesh agent install --join tmjoin_…",
        "sudo tiermesh agent install --join - --profile server < token",
        "sudo tiermesh agent install --root /mnt/image --profile server",
      ),
    )
    .action((flags: InstallFlags) => install(flags));
  parent
    .command("uninstall")
    .description("stop the agent in order and remove it; state and configuration stay for a later installation")
    .option("--purge", "remove those too: the node's key is gone then")
    .option("--root <folder>", "from the image of a machine in this folder")
    .option("--json", "as JSON")
    .addHelpText("after", agentExamples("sudo tiermesh agent uninstall", "sudo tiermesh agent uninstall --purge"))
    .action(async (flags: { purge?: boolean; root?: string; json?: boolean }) => {
      const done = await uninstallAgent(placeOf(flags.root), { purge: flags.purge === true }, sayer(flags.json));
      if (flags.json === true) return printJson(done);
      if (!done.wasInstalled) print("no agent was installed here; whatever was left of one is gone");
      if (done.kept.length > 0) note(`kept: ${done.kept.join(", ")} (uninstall --purge removes them)`);
      if (done.forgotten !== null)
        note(`the mesh still lists ${done.forgotten}: tiermesh node revoke ${done.forgotten}`);
    });
  parent
    .command("join")
    .description("join a mesh, or another one, or anew after its bus has moved; as root for the installed agent")
    .argument("<token>", "from `tiermesh node add`, or - to read it from standard input")
    .option("--json", "as JSON")
    .addHelpText("after", agentExamples("sudo tiermesh agent join tmjoin_…", "tiermesh agent join - < token"))
    .action((argument: string, flags: { json?: boolean }) => join(argument, flags.json === true));
  parent
    .command("print-unit")
    .description(
      "print what makes the agent a service: systemd's unit, launchd's property lists, WinSW's configuration",
    )
    .addOption(new Option("--profile <profile>", "as for install").choices(PROFILES))
    .addOption(new Option("--platform <platform>", "default: this one").choices(["linux", "darwin", "win32"]))
    .option("--all", "and what upgrades by the mesh need (tiermesh upgrade)")
    .option("--json", "as JSON: path, mode and text of each file")
    .addHelpText(
      "after",
      agentExamples("tiermesh agent print-unit", "tiermesh agent print-unit --platform darwin --all"),
    )
    .action((flags: { profile?: Profile; platform?: NodeJS.Platform; all?: boolean; json?: boolean }) => {
      const { layout, manager } = placeOf("", flags.platform);
      // An agent from before there was `--all` takes no more than these from one that it upgrades to.
      const files = manager
        .definitions({ layout, profile: flags.profile })
        .filter(({ path }) => flags.all === true || !isForUpgrades(path));
      if (flags.json === true) return printJson(files);
      for (const { path, text } of files) {
        // Between several files it has to be said which is which; one alone can be piped.
        if (files.length > 1) note(path);
        process.stdout.write(text);
      }
    });
}

async function install(flags: InstallFlags): Promise<void> {
  const place = placeOf(flags.root);
  checkPrivileged(place.machine, "install");
  const executable = executableToInstall(flags.executable, process.env);
  // Before it is asked its version: a shell would be tried on what is no program of this system.
  await checkFormat(executable, place.machine.platform, process.arch);
  const done = await installAgent(
    place,
    {
      executable,
      version: await versionOf(executable),
      token: await tokenOf(flags),
      profile: flags.profile,
      releaseKey: flags.releaseKey === undefined ? undefined : readKey(flags.releaseKey),
      wrapper: wrapperToInstall(flags.wrapper, executable, place),
      start: flags.start,
    },
    sayer(flags.json),
  );
  if (flags.json === true) return printJson(done);
  print(told(done));
  for (const line of done.notes) note(line);
}

async function tokenOf({ join: given, joinFile }: InstallFlags): Promise<string | undefined> {
  if (given !== undefined) return readSecret(given);
  if (joinFile === undefined) return undefined;
  try {
    return readFileSync(joinFile, "utf8").trim();
  } catch (cause) {
    throw new MeshError("bad_config", `--join-file: ${joinFile} cannot be read`, { cause, field: "join-file" });
  }
}

function told({ changed, node, running }: Installed): string {
  const what = changed.length === 0 ? "all was installed already" : "installed";
  const as = node === null ? "" : ` as ${node}`;
  return running ? `${what}; the agent runs${as} and is on the bus` : `${what}${as}`;
}

async function join(argument: string, json: boolean): Promise<void> {
  const place = placeOf();
  const { layout, machine, manager } = place;
  const token = await readSecret(argument);
  checkToken(token, Date.now());
  const own = !machine.privileged || (machine.env["TIERMESH_HOME"] ?? "") !== "";
  const installed = !own && (await manager.state(layout)).installed;
  if (!installed) {
    const member = await joinMesh(token, stateDir());
    const { node_id, layer, cell, urls, waiting } = member;
    if (json) printJson({ node_id, layer, cell, urls, waiting: waiting !== null });
    else if (waiting !== null)
      print(`this machine asks to be let in: tiermesh node approve ${node_id}, fingerprint ${fingerprintOf(member)}`);
    else print(`this machine is ${node_id}, ${layer}, of the cell ${cell}; start its agent: tiermesh-agent run`);
    return;
  }
  await joinAsService(machine, layout, token, isSingleExecutable ? process.execPath : layout.executable);
  const started = manager.notRunning() === undefined;
  if (started) await manager.restart(layout);
  if (json) printJson({ joined: true, started });
  else print(`the installed agent has joined${started ? ", and was started anew" : ""}`);
}

/** The version of the program that is installed: it is asked itself, unless it is the one that runs. */
async function versionOf(executable: string): Promise<string> {
  if (isSingleExecutable && executable === process.execPath) return VERSION;
  const { code, stdout, stderr } = await runCommand(executable, ["--version"], { timeoutMs: 20_000 });
  if (code === 0 && /^\S{1,64}\n$/.test(stdout)) return stdout.trim();
  throw new MeshError("bad_config", `${executable} does not run here: ${stderr.trim().slice(-300)}`, {
    field: "executable",
  });
}

function readKey(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new MeshError("bad_config", `--release-key: ${file} cannot be read`, { field: "releaseKey", cause });
  }
}

/** Progress for people, beside the result. */
function sayer(json: boolean | undefined): (line: string) => void {
  return json === true ? () => undefined : (line) => note(`  ${line}`);
}
