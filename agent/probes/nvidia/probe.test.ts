import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Gpu, type Gpu as GpuRecord } from "../../../bus-schemas/node-record.ts";
import { CommandError } from "../command.ts";
import { replayHost, UNHURRIED, type Answers } from "../fixtures/replay-host.ts";
import type { Nvml, NvmlDevice } from "./nvml.ts";
import { createNvidiaProbe } from "./probe.ts";
import { StepError, type NvidiaStep } from "./step.ts";

const CSV = readFileSync(new URL("../fixtures/two-gpus.csv", import.meta.url), "utf8");
const XML = `<nvidia_smi_log><gpu id="00000000:01:00.0"><product_name>By XML</product_name></gpu></nvidia_smi_log>`;

/** A machine whose nvidia-smi knows only some of its ways. */
const knows =
  (...ways: ("-lms" | "once" | "-x")[]): Answers =>
  (_program, args) => {
    const way = args.includes("-lms") ? "-lms" : args.includes("-x") ? "-x" : "once";
    if (args[0]?.startsWith("--query-compute-apps")) return { stdout: "" };
    if (!ways.includes(way)) return { code: 2, stdout: `${way} is refused` };
    return { stdout: way === "-x" ? XML : CSV };
  };

const DEVICE: NvmlDevice = {
  name: "By NVML",
  uuid: "GPU-1",
  busId: "00000000:01:00.0",
  memory: { totalBytes: 2n ** 34n, freeBytes: 2n ** 33n },
  utilizationPercent: 50,
  temperatureCelsius: 60,
  powerMilliwatts: 100_500,
  powerLimitMilliwatts: null,
  energyMillijoules: 1_000n,
  eventReasons: 0x4n,
  migEnabled: null,
  migDevices: [],
  processes: null,
};
const nvmlOf =
  (device: Partial<NvmlDevice> = {}) =>
  async (): Promise<Nvml> => ({
    driverVersion: async () => "580.1",
    deviceCount: async () => 1,
    device: async () => ({ ...DEVICE, ...device }),
    xids: async () => [],
    shutdown: async () => {},
  });

test("NVML is asked first, and then no nvidia-smi at all", async () => {
  const host = replayHost(knows("-lms", "once", "-x"), { nvml: nvmlOf() });
  const { values, how } = await createNvidiaProbe().probe(host, UNHURRIED);
  expect(values.gpus).toMatchObject([{ name: "By NVML", vram_free_gb: 8, power_watts: 100.5, energy_joules: 1 }]);
  expect(how).toBe("NVML");
  expect(host.asked).toEqual([]);
});

test.each([
  [["-lms", "once", "-x"], "nvidia-smi -lms; not by NVML: not on this machine"],
  [["once", "-x"], "nvidia-smi --query-gpu; not by NVML: not on this machine; nvidia-smi -lms: nvidia-smi answered"],
  [
    ["-x"],
    "node-nvidia-smi (nvidia-smi -q -x); not by NVML: not on this machine; nvidia-smi -lms: nvidia-smi answered",
  ],
] as const)(
  "where nvidia-smi knows %j, the first of them is used, and how says why not the others",
  async (ways, words) => {
    const { values, how } = await createNvidiaProbe().probe(replayHost(knows(...ways)), UNHURRIED);
    expect(values.gpus?.length).toBeGreaterThan(0);
    expect(how).toContain(words);
  },
);

test("a way that failed is not tried at every reading, and used again once it works", async () => {
  const parts = { nvml: () => Promise.reject<Nvml>(new StepError("broken", "the driver is not loaded")) };
  const host = replayHost(knows("once"), parts);
  const probe = createNvidiaProbe();
  await probe.probe(host, UNHURRIED);
  const asked = host.asked.length;
  expect(host.asked.filter((line) => line.includes("-lms"))).toHaveLength(1);
  await probe.probe(host, UNHURRIED);
  expect(host.asked).toHaveLength(asked + 1);
  host.nvml = nvmlOf();
  host.atMs += 10_000;
  expect(await probe.probe(host, UNHURRIED)).toMatchObject({ how: "NVML" });
});

test("where something hangs nothing else is asked, now or shortly after", async () => {
  const hangs: Answers = () => new CommandError("unkillable", "nvidia-smi");
  const host = replayHost(hangs);
  const probe = createNvidiaProbe();
  await expect(probe.probe(host, UNHURRIED)).rejects.toThrow("hangs in the driver and cannot be killed");
  await expect(probe.probe(host, UNHURRIED)).rejects.toThrow("hangs in the driver and cannot be killed");
  expect(host.asked).toHaveLength(1);
});

test("a driver that is broken every way is an error that names the ways", async () => {
  const host = replayHost(knows());
  const failing = createNvidiaProbe().probe(host, UNHURRIED);
  await expect(failing).rejects.toThrow(
    'nvidia-smi -lms: nvidia-smi answered "-lms is refused" (exit code 2); nvidia-smi --query-gpu: nvidia-smi answered "once',
  );
  expect(host.asked).toHaveLength(3);
});

test("ways that failed for one reason are told together", async () => {
  const failing = createNvidiaProbe().probe(
    replayHost(() => ({ code: 9, stdout: "x".repeat(1000) })),
    UNHURRIED,
  );
  await expect(failing).rejects.toMatchObject({
    message: `NVML: not on this machine; nvidia-smi -lms, nvidia-smi --query-gpu, node-nvidia-smi (nvidia-smi -q -x): nvidia-smi answered "${"x".repeat(120)}" (exit code 9)`,
  });
});

test("a GPU without memory of its own has what the machine has", async () => {
  const host = replayHost(undefined, { arch: "arm64", nvml: nvmlOf({ memory: "not_supported" }) });
  const { values } = await createNvidiaProbe().probe(host, UNHURRIED);
  expect(values.gpus).toMatchObject([{ unified_memory: true, vram_total_gb: 64, vram_free_gb: 48 }]);
});

test("impossible readings of NVML are unknown, never 0", async () => {
  const nvml = nvmlOf({
    name: "",
    uuid: "",
    busId: "somewhere",
    memory: { totalBytes: 1n, freeBytes: 2n ** 63n },
    utilizationPercent: 101,
    temperatureCelsius: 4_000_000_000,
    powerMilliwatts: 4_294_967_295,
    energyMillijoules: 2n ** 64n - 1n,
  });
  const { values } = await createNvidiaProbe().probe(replayHost(undefined, { nvml }), UNHURRIED);
  expect(Gpu.array().parse(values.gpus)).toEqual(values.gpus);
  expect(values.gpus).toMatchObject([
    {
      name: "NVIDIA GPU",
      uuid: null,
      pci_address: null,
      vram_total_gb: null,
      vram_free_gb: null,
      utilization: null,
      temperature_celsius: null,
      power_watts: null,
      energy_joules: null,
    },
  ]);
});

test("what is none of our errors is thrown on, and the way is not blamed", async () => {
  let reads = 0;
  const odd: NvidiaStep = {
    name: "odd",
    read: () =>
      ++reads === 1 ? Promise.reject(new Error("oops")) : Promise.resolve({ gpus: [] as GpuRecord[], problems: [] }),
    release: async () => {},
  };
  const probe = createNvidiaProbe({ steps: () => [odd] });
  await expect(probe.probe(replayHost(), UNHURRIED)).rejects.toThrow("oops");
  expect(await probe.probe(replayHost(), UNHURRIED)).toMatchObject({ how: "odd found no NVIDIA GPU" });
});
