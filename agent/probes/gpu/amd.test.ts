import { expect, test } from "vitest";
import { GPU_MACHINES, pciFiles } from "../fixtures/gpu-machines.ts";
import { replay, type Machine } from "../fixtures/machines.ts";
import { UNHURRIED } from "../fixtures/replay-host.ts";
import { createAmdProbe } from "./amd.ts";

const [RADEON, INSTINCT] = GPU_MACHINES.filter(({ probe }) => probe === "amd") as [Machine, Machine];

test("where sysfs says all that matters, the slow tool is asked for names once an hour", async () => {
  const host = replay(RADEON);
  const probe = createAmdProbe();
  for (let round = 0; round < 3; round++) await probe.probe(host, UNHURRIED);
  expect(host.asked.filter((line) => line.startsWith("rocm-smi"))).toHaveLength(1);
  host.atMs += 3_600_000;
  expect((await probe.probe(host, UNHURRIED)).values.gpus).toMatchObject([{ name: "Radeon RX 7900 XTX" }]);
  expect(host.asked.filter((line) => line.startsWith("rocm-smi"))).toHaveLength(2);
});

test("where sysfs lacks what matters, the tool is asked every 30 seconds, and its values are as old as they are", async () => {
  const host = replay(INSTINCT);
  const probe = createAmdProbe();
  await probe.probe(host, UNHURRIED);
  host.atMs += 10_000;
  const [gpu] = (await probe.probe(host, UNHURRIED)).values.gpus ?? [];
  expect(gpu).toMatchObject({ utilization: 0.87, sampled_at: "2026-01-01T00:00:00.000Z" });
  expect(host.asked.filter((line) => line.startsWith("amd-smi metric"))).toHaveLength(1);
  host.atMs += 20_000;
  await probe.probe(host, UNHURRIED);
  expect(host.asked.filter((line) => line.startsWith("amd-smi metric"))).toHaveLength(2);
});

test("a laptop's card that sleeps is not woken, and keeps its name", async () => {
  const files = { ...RADEON.files };
  const host = replay({ ...RADEON, files });
  const probe = createAmdProbe();
  await probe.probe(host, UNHURRIED);
  const asked = host.asked.length;
  Object.assign(files, pciFiles("0000:03:00.0", "0x1002", { class: "0x030000", "power/runtime_status": "suspended" }));
  const sleeping = replay({ ...RADEON, files });
  const [gpu] = (await probe.probe(sleeping, UNHURRIED)).values.gpus ?? [];
  expect(gpu).toMatchObject({ name: "Radeon RX 7900 XTX", asleep: true, vram_total_gb: 23.984, vram_free_gb: null });
  expect(gpu).toMatchObject({ utilization: null, temperature_celsius: null, power_watts: null });
  expect(host.asked).toHaveLength(asked);
  expect(sleeping.asked).toEqual([]);
});

test("a tool that fails is told, and sysfs counts all the same", async () => {
  const reading = await createAmdProbe().probe(
    replay(RADEON, () => ({ code: 1, stderr: "ERROR: no permission" })),
    UNHURRIED,
  );
  expect(reading.problem).toBe('rocm-smi answered "ERROR: no permission" (exit code 1)');
  expect(reading.values.gpus).toMatchObject([{ name: "AMD GPU 744c", utilization: 0.42, vram_free_gb: 22.984 }]);
});
