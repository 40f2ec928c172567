import { readFileSync } from "node:fs";
import { MeshError } from "../../bus-schemas/index.ts";
import { ReleaseStream } from "../../service/release-stream.ts";
import { examples, type CommandModule } from "../command.ts";
import { table } from "../format/table.ts";
import { dim, note, print, printJson } from "../format/terminal.ts";
import { operator } from "../policy/source.ts";
import { addRelease, readSignedFile, type SignedFile } from "../releases/add.ts";
import { withClient } from "../with-client.ts";

export const release: CommandModule = (program) => {
  const command = program
    .command("release")
    .description("signed programs of the agent that the bus keeps, for `tiermesh upgrade`");
  command
    .command("add")
    .description("bring a release to the bus: the program for each system, each with its .sig beside it")
    .argument("<files...>", "as npm run build:agent -- --sign KEY makes them")
    .option("--key <file>", "public key (PEM) to check the signatures by before anything is sent")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      examples(
        "tiermesh release add out/tiermesh-agent-linux-x64 out/tiermesh-agent-linux-arm64 --key release.key.pub",
        "tiermesh release add out/tiermesh-agent-win-x64.exe    # a system more of the same version",
      ),
    )
    .action((paths: string[], flags: { key?: string; json?: boolean }) =>
      withClient(async (client) => {
        const key = flags.key === undefined ? undefined : readKey(flags.key);
        const files: SignedFile[] = [];
        for (const path of paths) files.push(await readSignedFile(path, key));
        const stream = await ReleaseStream.open(client.bus);
        const shown = new Set<string>();
        const added = await addRelease(stream, files, operator(), ({ bytes, path, system }, done) => {
          if (flags.json === true) return;
          if (process.stderr.isTTY)
            process.stderr.write(`\r\u001b[2K${dim(`${system}: ${Math.floor((done / bytes) * 100)} %`)}`);
          else if (!shown.has(path)) note(`sending ${path}`);
          shown.add(path);
        });
        if (process.stderr.isTTY && shown.size > 0) process.stderr.write("\r\u001b[2K");
        if (flags.json === true) return printJson(added);
        print(`${added.version} is on the bus for ${added.files.map(({ system }) => system).join(", ")}`);
        note(`tiermesh upgrade --release ${added.version} --dry-run shows what it would do`);
      }),
    );
  command
    .command("list")
    .description("the releases that the bus keeps, the last one first")
    .option("--json", "as JSON")
    .addHelpText("after", examples("tiermesh release list", "tiermesh release list --json"))
    .action((flags: { json?: boolean }) =>
      withClient(async (client) => {
        const releases = await (await ReleaseStream.open(client.bus)).list();
        if (flags.json === true) return printJson(releases);
        if (releases.length === 0) return print("the bus keeps no release; see tiermesh release add --help");
        const rows = releases.map(({ version, files, added_unix_ms, by }) => [
          version,
          files.map(({ system }) => system).join(", "),
          `${Math.round(files.reduce((sum, { bytes }) => sum + bytes, 0) / 1e6)} MB`,
          new Date(added_unix_ms).toISOString(),
          by,
        ]);
        print(table([["VERSION", "SYSTEMS", "SIZE", "ADDED", "BY"], ...rows]));
      }),
    );
  command
    .command("rm")
    .description("take releases away from the bus; nodes that run them go on")
    .argument("<versions...>", "as release list shows them")
    .option("--json", "as JSON")
    .addHelpText("after", examples("tiermesh release rm 0.2.0"))
    .action((versions: string[], flags: { json?: boolean }) =>
      withClient(async (client) => {
        const stream = await ReleaseStream.open(client.bus);
        for (const version of versions) {
          if (!(await stream.remove(version)))
            throw new MeshError("not_found", `the bus keeps no release ${version}; see tiermesh release list`, {
              field: "version",
            });
          if (flags.json !== true) print(`${version} is gone from the bus`);
        }
        if (flags.json === true) printJson({ removed: versions });
      }),
    );
};

function readKey(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new MeshError("bad_config", `--key: ${file} cannot be read`, { field: "key", cause });
  }
}
