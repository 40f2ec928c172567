import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, expect, test } from "vitest";
import { Gpu } from "../../../bus-schemas/node-record.ts";
import { replayHost, UNHURRIED } from "../fixtures/replay-host.ts";
import { loadNvml } from "./nvml-koffi.ts";
import { nvmlStep } from "./nvml.ts";

const dir = mkdtempSync(join(tmpdir(), "tiermesh-nvml-"));
const hasCompiler = process.platform === "linux" && spawnSync("gcc", ["--version"]).status === 0;
const noCompiler = "no gcc here to build a stand-in for libnvidia-ml.so.1 with";

/** Builds the stand-in; koffi then calls it for real. */
function build(name: string, ...flags: string[]): string {
  const library = join(dir, name);
  const source = fileURLToPath(new URL("../fixtures/fake-nvml.c", import.meta.url));
  execFileSync("gcc", ["-shared", "-fPIC", "-Wall", ...flags, "-o", library, source]);
  return library;
}

const library = hasCompiler ? build("libnvidia-ml.so.1") : "";

afterAll(() => rmSync(dir, { recursive: true, force: true }));
afterEach(() => setMachine(undefined));

/** The stand-in asks its environment, which node:process hands to native code. */
function setMachine(name: string | undefined): void {
  if (name === undefined) delete process.env["FAKE_NVML"];
  else process.env["FAKE_NVML"] = name;
}

async function read(machine: string, { arch = "x64", timeoutMs = 20_000, path = library } = {}) {
  setMachine(machine);
  const host = replayHost(undefined, { arch, nvml: () => loadNvml("linux", {}, "unused", [path]) });
  const step = nvmlStep({ timeoutMs });
  const reading = await step.read(host, UNHURRIED);
  await step.release();
  for (const gpu of reading.gpus) expect(Gpu.parse(gpu)).toEqual(gpu);
  return reading;
}

test("a machine without the library has no NVML", async () => {
  for (const [platform, words] of [
    ["linux", "no libnvidia-ml-none.so.1"],
    ["darwin", "no such library on this system"],
  ] as const) {
    const libraries = platform === "linux" ? ["libnvidia-ml-none.so.1", join(dir, "none.so")] : undefined;
    await expect(loadNvml(platform, {}, "unused", libraries)).rejects.toMatchObject({
      failure: "absent",
      message: words,
    });
  }
});

test("a card is read through the real binding, in the wire's units", async ({ skip }) => {
  if (!hasCompiler) skip(noCompiler);
  expect(await read("h200")).toEqual({
    problems: [],
    faults: [],
    gpus: [
      {
        index: 0,
        uuid: "GPU-5c1d0001-aaaa-bbbb-cccc-000000000001",
        vendor: "nvidia",
        name: "NVIDIA H200",
        vram_total_gb: 140.401,
        vram_free_gb: 97.656,
        utilization: 0.37,
        temperature_celsius: 61,
        power_watts: 412.345,
        power_limit_watts: 700,
        driver_version: "580.65.06",
        mig_mode: false,
        mig_instances: [],
        throttled: ["sw_thermal_slowdown", "hw_thermal_slowdown"],
        pci_address: "0000:0f:00.0",
        unified_memory: false,
        asleep: null,
        energy_joules: 123_456_789.012,
        processes: [
          { pid: 1000, vram_gb: 1 },
          { pid: 1001, vram_gb: 2 },
          { pid: 2000, vram_gb: null },
        ],
        sampled_at: "2026-01-01T00:00:00.000Z",
        sick: null,
      },
    ],
  });
});

test("a card cut by MIG lists its devices over the gaps in their numbers, and has no utilisation", async ({ skip }) => {
  if (!hasCompiler) skip(noCompiler);
  const [gpu] = (await read("mig")).gpus;
  const device = { uuid: "MIG-5c1d0001-0000-0000-0000-000000000001", profile: "1g.18gb", vram_total_gb: 16 };
  expect(gpu).toMatchObject({ mig_mode: true, utilization: null, mig_instances: [device, device] });
});

test("a GB10 has the machine's memory; elsewhere the same answer is only unknown", async ({ skip }) => {
  if (!hasCompiler) skip(noCompiler);
  const unknown = { name: "NVIDIA GB10", vram_total_gb: null, vram_free_gb: null, mig_mode: null };
  expect((await read("gb10", { arch: "arm64" })).gpus).toMatchObject([{ ...unknown, unified_memory: true }]);
  expect((await read("gb10")).gpus).toMatchObject([{ ...unknown, unified_memory: null }]);
});

test("an older driver is asked by the older names and structures", async ({ skip }) => {
  if (!hasCompiler) skip(noCompiler);
  const old = build("old.so", "-DOLD_DRIVER");
  expect((await read("old", { path: old })).gpus).toMatchObject([
    { vram_total_gb: 140.401, vram_free_gb: 97.656, throttled: ["sw_power_cap"] },
  ]);
});

test("more processes than there was room for are all asked for, and cut to what a record carries", async ({ skip }) => {
  if (!hasCompiler) skip(noCompiler);
  expect((await read("busy")).gpus[0]?.processes).toHaveLength(64);
});

test("a driver without a card is no error, a lost card beside a good one is a problem", async ({ skip }) => {
  if (!hasCompiler) skip(noCompiler);
  expect(await read("empty")).toEqual({ gpus: [], problems: [], faults: [] });
  const { gpus, problems } = await read("lost");
  expect(gpus).toHaveLength(1);
  expect(problems).toEqual(["GPU 1: its handle: the GPU has fallen off the bus"]);
});

test("a library of another version than the driver is told in plain words", async ({ skip }) => {
  if (!hasCompiler) skip(noCompiler);
  await expect(read("mismatch")).rejects.toMatchObject({
    failure: "broken",
    message: "it does not initialise: driver and library have different versions (restart after an update)",
  });
});

test("a call that hangs is given up, and nothing is asked until it has come back", async ({ skip }) => {
  if (!hasCompiler) skip(noCompiler);
  setMachine("hangs");
  let loads = 0;
  const nvml = () => {
    loads++;
    return loadNvml("linux", {}, "unused", [library]);
  };
  const host = replayHost(undefined, { nvml });
  const step = nvmlStep({ timeoutMs: 50 });
  await expect(step.read(host, UNHURRIED)).rejects.toMatchObject({ failure: "hung" });
  await expect(step.read(host, UNHURRIED)).rejects.toThrow("an earlier call into NVML has not come back");
  await step.release();
  expect(loads).toBe(1);
});

test("an Xid error is told once, with the card that had it; a driver without events tells none", async ({ skip }) => {
  if (!hasCompiler) skip(noCompiler);
  setMachine("xid");
  const host = replayHost(undefined, { nvml: () => loadNvml("linux", {}, "unused", [library]) });
  const step = nvmlStep({ timeoutMs: 20_000 });
  expect((await step.read(host, UNHURRIED)).faults).toEqual([
    {
      id: expect.stringMatching(/^nvml-\w+-1$/),
      xid: 79,
      uuid: "GPU-5c1d0001-aaaa-bbbb-cccc-000000000001",
      pci_address: "0000:0f:00.0",
    },
  ]);
  expect((await step.read(host, UNHURRIED)).faults).toEqual([]);
  await step.release();
  expect(await read("no-events")).toMatchObject({ gpus: [{ name: "NVIDIA H200" }], faults: [] });
});
