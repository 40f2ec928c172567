import { expect, test } from "vitest";
import { GPU_MACHINES, pciFiles } from "../fixtures/gpu-machines.ts";
import { replay, type Machine } from "../fixtures/machines.ts";
import { UNHURRIED } from "../fixtures/replay-host.ts";
import { createIntelProbe } from "./intel.ts";

const FLEX = GPU_MACHINES.find(({ probe }) => probe === "intel") as Machine;
const ARC = (energy: string) =>
  pciFiles("0000:03:00.0", "0x8086", {
    class: "0x030000",
    device: "0x56a0",
    "hwmon/hwmon5/energy1_input": energy,
    "hwmon/hwmon5/temp2_input": "44000",
  });

test("memory in use counts as MiB or as bytes, whichever fits into the card", async () => {
  const bytes = replay(FLEX, (stdout) => ({ stdout: stdout.replace("4096.0", String(4 * 2 ** 30)) }));
  expect((await createIntelProbe().probe(bytes, UNHURRIED)).values.gpus).toMatchObject([{ vram_free_gb: 12 }]);
});

test("tiles are summed, and the warmest counts", async () => {
  const tile = (used: number, celsius: number) => ({
    data_list: [
      { metrics_type: "XPUM_STATS_MEMORY_USED", value: used },
      { metrics_type: "XPUM_STATS_GPU_CORE_TEMPERATURE", value: celsius },
    ],
  });
  const stats = JSON.stringify({ device_level: [], tile_level: [tile(1024, 40), tile(2048, 45)] });
  const host = replay({
    ...FLEX,
    answers: { ...FLEX.answers, "xpu-smi stats": stats, "xpu-smi stats -d 0 -j": stats },
  });
  expect((await createIntelProbe().probe(host, UNHURRIED)).values.gpus).toMatchObject([
    { vram_free_gb: 13, temperature_celsius: 45, utilization: null },
  ]);
});

test("without xpu-smi the driver's sensors tell temperature and power, and built-in graphics are not counted", async () => {
  const files = { ...pciFiles("0000:00:02.0", "0x8086", { class: "0x030000" }), ...ARC("1000000000") };
  const machine: Machine = { probe: "intel", name: "an Arc", files, values: {} };
  const host = replay(machine);
  const probe = createIntelProbe();
  expect((await probe.probe(host, UNHURRIED)).values.gpus).toMatchObject([
    { name: "Intel GPU 56a0", temperature_celsius: 44, power_watts: null, energy_joules: 1000 },
  ]);
  Object.assign(files, ARC("1300000000"));
  host.atMs += 5000;
  expect((await probe.probe(host, UNHURRIED)).values.gpus).toMatchObject([{ power_watts: 60 }]);
});

test("xpu-smi that ends with 0 and an error is told", async () => {
  const host = replay(FLEX, () => ({ stdout: '{"error": "Level Zero initialization failed"}' }));
  const reading = await createIntelProbe().probe(host, UNHURRIED);
  expect(reading.problem).toBe("xpu-smi: Level Zero initialization failed");
  expect(reading.values.gpus).toMatchObject([{ pci_address: "0000:4d:00.0", power_limit_watts: 150 }]);
});
