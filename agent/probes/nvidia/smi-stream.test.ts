import { readFileSync } from "node:fs";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CommandRunner } from "../command.ts";
import { UNHURRIED } from "../fixtures/replay-host.ts";
import { createHost } from "../host.ts";
import { smiOnce } from "./smi-once.ts";
import { smiStream } from "./smi-stream.ts";
import { smiXml } from "./smi-xml.ts";
import { Smi } from "./smi.ts";

const CSV = readFileSync(new URL("../fixtures/two-gpus.csv", import.meta.url), "utf8");
const commands = new CommandRunner();
let dir = "";

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "tiermesh-smi-"));
});
afterEach(async () => {
  commands.killAll();
  await rm(dir, { recursive: true, force: true });
});

/** Installs a real nvidia-smi: each start is noted in `log`, then `body` runs as a shell script. */
async function install(body: string) {
  const tool = join(dir, "nvidia-smi");
  await writeFile(tool, `#!/bin/sh\necho "$$ $*" >> "${dir}/log"\n${body}\n`);
  await chmod(tool, 0o755);
  return createHost({ stateDir: dir, commands, env: { PATH: `${dir}:${process.env["PATH"]}` } });
}

const started = async () => (await readFile(join(dir, "log"), "utf8")).trim().split("\n");
const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

/** Answers other questions at once; with -lms it writes rounds without end. */
const ROUNDS = `case "$*" in *compute-apps*) exit 0;; *-lms*) ;; *) exit 9;; esac
while :; do cat <<'E'\n${CSV}E\nsleep 0.05; done`;

// The scripts are shell scripts.
const onUnix = test.skipIf(process.platform === "win32");

onUnix(
  "one nvidia-smi gives many readings; it makes room for the question about processes, and ends when released",
  async () => {
    const host = await install(ROUNDS);
    const step = smiStream(new Smi(20_000));
    for (let reading = 0; reading < 4; reading++)
      expect((await step.read(host, UNHURRIED)).gpus.map(({ index }) => index)).toEqual([0, 1]);
    const log = await started();
    expect(log.map((line) => (line.includes("-lms 2000") ? "-lms" : "processes"))).toEqual([
      "-lms",
      "processes",
      "-lms",
    ]);
    // Never two at once: the first had ended when the second was asked.
    expect(isAlive(Number.parseInt(log[0] ?? "", 10))).toBe(false);
    expect(isAlive(Number.parseInt(log[2] ?? "", 10))).toBe(true);
    await step.release();
    expect(isAlive(Number.parseInt(log[2] ?? "", 10))).toBe(false);
  },
);

onUnix("what the driver does not know is asked by its older name, or not at all", async () => {
  const host = await install(`case "$*" in
    *clocks_event_reasons.active*) echo 'Field "clocks_event_reasons.active" is not a valid field to query.'; exit 2;;
  esac\n${ROUNDS}`);
  const step = smiStream(new Smi(20_000));
  expect((await step.read(host, UNHURRIED)).gpus).toHaveLength(2);
  expect((await started())[1]).toContain("clocks_throttle_reasons.active");
  await step.release();
});

onUnix("one that falls silent is killed and told, and a later reading starts another", async () => {
  const host = await install("exec sleep 1000");
  const step = smiStream(new Smi(200));
  await expect(step.read(host, UNHURRIED)).rejects.toMatchObject({
    failure: "hung",
    message: "nvidia-smi -lms said nothing for 0.2 s and was killed",
  });
  expect(isAlive(Number.parseInt((await started())[0] ?? "", 10))).toBe(false);
  const again = smiStream(new Smi(20_000));
  await install(ROUNDS);
  expect((await again.read(host, UNHURRIED)).gpus).toHaveLength(2);
  await again.release();
});

onUnix("a card that is lost while it runs is told; the end of the program is no end of the readings", async () => {
  const host = await install(
    `case "$*" in *compute-apps*) exit 0;; esac\nhead -1 <<'E'\n${CSV}E\necho "GPU is lost"\nexit 15`,
  );
  const { gpus, problems } = await smiStream(new Smi(20_000)).read(host, UNHURRIED);
  expect(gpus.map(({ index }) => index)).toEqual([0]);
  expect(problems.join()).toContain("exit code 15");
});

// What every way of asking nvidia-smi promises.
const WAYS = { smiStream, smiOnce, smiXml };
const BROKEN = {
  garbage: ["head -c 2000 /dev/urandom; echo", "broken"],
  "an error and exit code 0": ["echo 'Failed to initialize NVML: Unknown Error'", "broken"],
  nothing: ["exit 0", "broken"],
  "other columns": ["echo 'a, b, c'; echo '1, 2, 3'", "broken"],
  "refused arguments": ["echo 'Invalid combination of input arguments.'; exit 2", "broken"],
  "megabytes in one line": ["yes | tr -d '\\n' | head -c 9000000", "broken"],
  "a broken driver": ["echo 'NVIDIA-SMI has failed'; exit 9", "broken"],
} as const;

for (const [name, way] of Object.entries(WAYS)) {
  for (const [what, [body, failure]] of Object.entries(BROKEN)) {
    onUnix(`${name}: ${what} is a typed error`, async () => {
      const host = await install(body);
      await expect(way(new Smi(20_000)).read(host, UNHURRIED)).rejects.toMatchObject({ name: "ProbeError", failure });
    });
  }

  onUnix(`${name}: a machine without nvidia-smi is told apart, one without cards is no error`, async () => {
    const nothing = createHost({ stateDir: dir, commands, env: { PATH: dir } });
    await expect(way(new Smi(20_000)).read(nothing, UNHURRIED)).rejects.toMatchObject({ failure: "absent" });
    const host = await install("echo 'No devices were found'; exit 6");
    expect(await way(new Smi(20_000)).read(host, UNHURRIED)).toEqual({ gpus: [], problems: [] });
  });

  onUnix(`${name}: hangs and is stopped with the probe`, async () => {
    const host = await install("exec sleep 1000");
    const abort = new AbortController();
    const step = way(new Smi(20_000));
    const reading = step.read(host, abort.signal);
    reading.catch(() => {});
    await expect.poll(() => started().catch(() => [])).toHaveLength(1);
    abort.abort();
    await expect(reading).rejects.toMatchObject({ failure: "hung" });
    expect(isAlive(Number.parseInt((await started())[0] ?? "", 10))).toBe(false);
  });
}
