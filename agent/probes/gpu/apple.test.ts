import { expect, test } from "vitest";
import { GPU_MACHINES } from "../fixtures/gpu-machines.ts";
import { replay, type Machine } from "../fixtures/machines.ts";
import { UNHURRIED } from "../fixtures/replay-host.ts";
import { createAppleProbe } from "./apple.ts";

const M4 = GPU_MACHINES.find(({ probe }) => probe === "apple") as Machine;
const GIB = 2 ** 30;

test.each([
  [16, 10.667],
  [36, 24],
  [48, 36],
  [128, 96],
])("of %i GB of memory the GPU may use %s GB", async (memory, vram) => {
  const host = replay(M4, undefined, {
    memory: async () => ({ totalBytes: memory * GIB, availableBytes: memory * GIB }),
  });
  expect((await createAppleProbe().probe(host, UNHURRIED)).values.gpus).toMatchObject([{ vram_total_gb: vram }]);
});

test("what programs take of the memory the GPU has not", async () => {
  const memory = async () => ({ totalBytes: 64 * GIB, availableBytes: 8 * GIB });
  const reading = await createAppleProbe().probe(replay(M4, undefined, { memory }), UNHURRIED);
  expect(reading.values.gpus).toMatchObject([{ vram_total_gb: 48, vram_free_gb: 8 }]);
});

test("without macmon temperature and power are unknown; it is looked for once a minute", async () => {
  const { "macmon pipe": _, ...answers } = M4.answers ?? {};
  const host = replay({ ...M4, answers });
  const probe = createAppleProbe();
  const reading = await probe.probe(host, UNHURRIED);
  expect(reading.values).toMatchObject({ gpus: [{ temperature_celsius: null, power_watts: null, utilization: 0.3 }] });
  expect(reading.values).not.toHaveProperty("power_watts");
  await probe.probe(host, UNHURRIED);
  const tried = host.asked.filter((line) => line.includes("macmon")).length;
  host.atMs += 60_000;
  await probe.probe(host, UNHURRIED);
  expect(host.asked.filter((line) => line.includes("macmon"))).toHaveLength(2 * tried);
});

test("a name that ioreg lacks is asked of system_profiler, once an hour", async () => {
  const nameless = (M4.answers?.["ioreg -r -d 1 -w 0 -c AGXAccelerator"] ?? "").replace(/.*"model".*\n/, "");
  const answers = {
    "ioreg -r -d 1 -w 0 -c AGXAccelerator": nameless,
    system_profiler: '{"SPDisplaysDataType":[{"_name":"kHW_AppleM1Item","sppci_model":"Apple M1"}]}',
  };
  const host = replay({ ...M4, answers });
  const probe = createAppleProbe();
  for (let round = 0; round < 2; round++) {
    expect((await probe.probe(host, UNHURRIED)).values.gpus).toMatchObject([{ name: "Apple M1" }]);
  }
  expect(host.asked.filter((line) => line.includes("system_profiler"))).toHaveLength(1);
});
