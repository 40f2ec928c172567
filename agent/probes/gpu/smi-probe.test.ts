import { expect, test } from "vitest";
import { GPU_MACHINES, pciFiles } from "../fixtures/gpu-machines.ts";
import { replay, type Machine } from "../fixtures/machines.ts";
import { UNHURRIED } from "../fixtures/replay-host.ts";
import { createAscendProbe } from "./ascend.ts";
import { createKunlunxinProbe } from "./kunlunxin.ts";
import { createIntelProbe } from "./intel.ts";

const ASCEND = GPU_MACHINES.find(({ name }) => name === "two Ascend 910B") as Machine;

test("a card that sleeps is not woken: its tool is not run, sysfs says what is known", async () => {
  const asleep = pciFiles("0000:c2:00.0", "0x19e5", { device: "0xd802", "power/runtime_status": "suspended" });
  const host = replay({ ...ASCEND, files: { ...ASCEND.files, ...asleep } });
  const reading = await createAscendProbe().probe(host, UNHURRIED);
  expect(host.asked).toEqual([]);
  expect(reading.values.gpus).toMatchObject([
    { pci_address: "0000:c1:00.0", asleep: false, vram_total_gb: null, utilization: null },
    { pci_address: "0000:c2:00.0", asleep: true, name: "Ascend d802", vram_total_gb: null },
  ]);
});

test("without its driver's tool a card cannot be used, and that is said", async () => {
  const { answers: _, ...bare } = ASCEND;
  const reading = await createAscendProbe().probe(replay(bare), UNHURRIED);
  expect(reading.values).toEqual({ gpus: [] });
  expect(reading.how).toContain("2 Ascend on the PCI bus, but no npu-smi");
});

test("a tool that no longer lists a card that is there is an error", async () => {
  const host = replay(ASCEND, () => ({ stdout: "| nothing |\n" }));
  await expect(createAscendProbe().probe(host, UNHURRIED)).rejects.toThrow(
    "npu-smi lists none of the 2 Ascend devices",
  );
});

test("Intel and Kunlunxin call their tools alike; only the one whose card is there is run", async () => {
  const kunlunxin = GPU_MACHINES.find(({ probe }) => probe === "kunlunxin") as Machine;
  const host = replay(kunlunxin);
  expect((await createIntelProbe().probe(host, UNHURRIED)).values.gpus).toEqual([]);
  expect(host.asked).toEqual([]);
  expect((await createKunlunxinProbe().probe(host, UNHURRIED)).values.gpus).toHaveLength(2);
  expect(host.asked).toEqual(["xpu-smi"]);
});
