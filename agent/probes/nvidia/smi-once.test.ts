import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { CommandError, CommandRunner, type CommandFailure } from "../command.ts";
import { replayHost, UNHURRIED, type Answers } from "../fixtures/replay-host.ts";
import { createHost } from "../host.ts";
import { createNvidiaProbe } from "./probe.ts";
import { smiOnce } from "./smi-once.ts";

const fixture = (name: string) => readFileSync(new URL(`../fixtures/${name}`, import.meta.url), "utf8");
const TWO_GPUS = fixture("two-gpus.csv");

/** The probe with this way alone. */
const probeOf = (options: { timeoutMs?: number } = {}) =>
  createNvidiaProbe({ ...options, steps: (smi) => [smiOnce(smi)] });

/** As --query-compute-apps lists them. */
const APPS =
  "GPU-5c1d0001-aaaa-bbbb-cccc-000000000001, 4711, 5120\nGPU-5c1d0001-aaaa-bbbb-cccc-000000000001, 4712, [N/A]\n";

const MIG_MACHINE: Answers = (_program, args) => {
  if (args[0]?.startsWith("--query-compute-apps")) return { code: 2, stdout: "no such question" };
  if (args[0] === "-L") return { stdout: fixture("mig-list.txt") };
  return { stdout: fixture(args[0] === "-q" ? "mig-query.txt" : "mig.csv") };
};

test("a machine without nvidia-smi has no GPUs, and is not asked again every second", async () => {
  const host = replayHost();
  const probe = probeOf();
  expect(await probe.probe(host, UNHURRIED)).toMatchObject({ values: { gpus: [] } });
  const asked = host.asked.length;
  expect(asked).toBeGreaterThan(0);
  await probe.probe(host, UNHURRIED);
  expect(host.asked).toHaveLength(asked);
  host.atMs += 60_000;
  await probe.probe(host, UNHURRIED);
  expect(host.asked).toHaveLength(2 * asked);
});

test("the driver that is installed later is found", async () => {
  let installed = false;
  const host = replayHost(() => (installed ? { stdout: TWO_GPUS } : undefined));
  const probe = probeOf();
  await probe.probe(host, UNHURRIED);
  installed = true;
  host.atMs += 60_000;
  expect((await probe.probe(host, UNHURRIED)).values.gpus).toHaveLength(2);
});

test("on Windows both homes of nvidia-smi are tried, never the current folder", async () => {
  const nvsmi = "D:\\Programs\\NVIDIA Corporation\\NVSMI\\nvidia-smi.exe";
  const answers: Answers = (program) => (program === nvsmi ? { stdout: TWO_GPUS.replaceAll("\n", "\r\n") } : undefined);
  const env = { SystemRoot: "D:\\Win", ProgramFiles: "D:\\Programs" };
  const host = replayHost(answers, { platform: "win32", env });
  expect((await probeOf().probe(host, UNHURRIED)).values.gpus).toHaveLength(2);
  expect(host.asked.slice(0, 2).map((line) => line.split(" --query")[0])).toEqual([
    "D:\\Win\\System32\\nvidia-smi.exe",
    nvsmi,
  ]);
});

test("a Mac is not asked for NVIDIA cards at all", async () => {
  const host = replayHost(undefined, { platform: "darwin" });
  expect((await probeOf().probe(host, UNHURRIED)).values.gpus).toEqual([]);
  expect(host.asked).toEqual([]);
});

test("a driver without a card is no error", async () => {
  const host = replayHost(() => ({ code: 6, stdout: "No devices were found\n" }));
  const reading = await probeOf().probe(host, UNHURRIED);
  expect(reading.values).toEqual({ gpus: [] });
  expect(reading.problem).toBeUndefined();
});

test("MIG cards list their instances; -L and -q are asked only now and then, and only where MIG is on", async () => {
  const host = replayHost(MIG_MACHINE);
  const probe = probeOf();
  const [card, other] = (await probe.probe(host, UNHURRIED)).values.gpus ?? [];
  expect(card).toMatchObject({ mig_mode: true, utilization: null, vram_total_gb: 40 });
  expect(card?.mig_instances.map(({ profile, vram_total_gb }) => [profile, vram_total_gb])).toEqual([
    ["3g.20gb", 19.5],
    ["1g.5gb+me", null],
  ]);
  expect(other).toMatchObject({ mig_mode: false, mig_instances: [] });
  expect(host.asked).toHaveLength(4);
  const again = await probe.probe(host, UNHURRIED);
  expect(again.values.gpus?.[0]?.mig_instances).toHaveLength(2);
  expect(host.asked).toHaveLength(5);
  host.atMs += 30_000;
  await probe.probe(host, UNHURRIED);
  expect(host.asked).toHaveLength(9);
});

test("who holds memory on which card is asked now and then, by process id alone", async () => {
  const host = replayHost((_program, args) => ({
    stdout: args[0]?.startsWith("--query-compute-apps") ? APPS : TWO_GPUS,
  }));
  const probe = probeOf();
  const [first, second] = (await probe.probe(host, UNHURRIED)).values.gpus ?? [];
  expect(first?.processes).toEqual([
    { pid: 4711, vram_gb: 5 },
    { pid: 4712, vram_gb: null },
  ]);
  expect(second?.processes).toEqual([]);
  expect(host.asked.at(-1)).toBe(
    "nvidia-smi --query-compute-apps=gpu_uuid,pid,used_gpu_memory --format=csv,noheader,nounits",
  );
  await probe.probe(host, UNHURRIED);
  expect(host.asked).toHaveLength(3);
});

test("cards are reported even when their MIG devices cannot be listed", async () => {
  const host = replayHost((program, args) =>
    args[0] === "-L" ? { code: 4, stdout: "denied" } : MIG_MACHINE(program, args),
  );
  const reading = await probeOf().probe(host, UNHURRIED);
  expect(reading.values.gpus).toHaveLength(2);
  expect(reading.problem).toBe('MIG devices unknown: nvidia-smi answered "denied" (exit code 4)');
});

test("what an old driver does not know is left out, and asked for only once", async () => {
  const unknown = ["clocks_event_reasons.active", "clocks_throttle_reasons.active", "mig.mode.current"];
  const host = replayHost((_program, args) => {
    const fields = (args[0] ?? "").replace("--query-gpu=", "").split(",");
    const refused = fields.find((field) => unknown.includes(field));
    if (refused !== undefined) return { code: 2, stdout: `Field "${refused}" is not a valid field to query.\n\n` };
    return {
      stdout:
        "0, GPU-1, 340.108, 0000:01:00.0, 4036, 4000, [Not Supported], 44, [Not Supported], [Not Supported], GeForce GTX 680\n",
    };
  });
  const probe = probeOf();
  expect((await probe.probe(host, UNHURRIED)).values.gpus).toMatchObject([
    {
      name: "GeForce GTX 680",
      vram_total_gb: 3.941,
      mig_mode: null,
      throttled: null,
      utilization: null,
      power_watts: null,
    },
  ]);
  expect(host.asked).toHaveLength(5);
  await probe.probe(host, UNHURRIED);
  expect(host.asked).toHaveLength(6);
});

test("a driver that refuses every field ends in an error, not in a circle", async () => {
  const host = replayHost((_program, args) => {
    const last = (args[0] ?? "").split(",").at(-1);
    return { code: 2, stdout: `Field "${last}" is not a valid field to query.` };
  });
  await expect(probeOf().probe(host, UNHURRIED)).rejects.toThrow("does not know the fields");
});

test("a broken driver is an error that quotes nvidia-smi", async () => {
  const text = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n";
  const host = replayHost(() => ({ code: 9, stdout: text }));
  await expect(probeOf().probe(host, UNHURRIED)).rejects.toThrow(`"${text.trim()}" (exit code 9)`);
});

test("an empty answer and garbage are errors, not zero GPUs", async () => {
  for (const stdout of ["", "\u0000\u0001\uFFFD", "a,b\nc,d"]) {
    await expect(
      probeOf().probe(
        replayHost(() => ({ stdout })),
        UNHURRIED,
      ),
    ).rejects.toThrow("nvidia-smi answered");
  }
});

test("one lost card of two is a problem; the other one is reported", async () => {
  const [first] = TWO_GPUS.split("\n");
  const stdout = `${first}\nUnable to determine the device handle for GPU1: 0000:02:00.0: GPU is lost.\n`;
  const reading = await probeOf().probe(
    replayHost(() => ({ code: 15, stdout })),
    UNHURRIED,
  );
  expect(reading.values.gpus?.map(({ index }) => index)).toEqual([0]);
  expect(reading.problem).toContain("exit code 15");
});

test("a machine that claims a thousand GPUs is cut to what a node record carries", async () => {
  const stdout = TWO_GPUS.repeat(500);
  const reading = await probeOf().probe(
    replayHost(() => ({ stdout })),
    UNHURRIED,
  );
  expect(reading.values.gpus).toHaveLength(64);
  expect(reading.problem).toContain("1000 GPUs are listed");
});

test.each([
  ["timeout", "did not answer within 10 s and was killed"],
  ["unkillable", "cannot be killed"],
  ["still_running", "no other is started"],
  ["denied", "may not be run"],
  ["too_large", "wrote far too much"],
  ["broken", "cannot be started"],
] satisfies [CommandFailure, string][])("%s is reported in plain words", async (failure, words) => {
  const host = replayHost(() => new CommandError(failure, "nvidia-smi"));
  await expect(probeOf().probe(host, UNHURRIED)).rejects.toThrow(words);
});

test.skipIf(process.platform === "win32")(
  "a real nvidia-smi that hangs is killed and reported, and the next run finds it well again",
  async () => {
    const dir = await mkdtemp(join(tmpdir(), "tiermesh-nvidia-"));
    try {
      const tool = join(dir, "nvidia-smi");
      const install = async (body: string) => {
        await writeFile(tool, `#!/bin/sh\n${body}\n`);
        await chmod(tool, 0o755);
      };
      const env = { PATH: `${dir}:${process.env["PATH"]}` };
      // Not this machine's own PCI bus, which may have no NVIDIA card on it.
      const host = { ...createHost({ stateDir: dir, commands: new CommandRunner(), env }), list: async () => [] };
      await install("exec sleep 1000");
      await expect(probeOf({ timeoutMs: 300 }).probe(host, UNHURRIED)).rejects.toThrow(
        "did not answer within 0.3 s and was killed",
      );
      await install(`cat <<'E'\n${TWO_GPUS}E`);
      expect((await probeOf().probe(host, UNHURRIED)).values.gpus).toHaveLength(2);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  },
);
