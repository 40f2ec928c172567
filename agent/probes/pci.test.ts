import { expect, test } from "vitest";
import { files, replayHost } from "./fixtures/replay-host.ts";
import { pciAddress, pciDevices } from "./pci.ts";

/** The files that sysfs has for one device. */
const device = (address: string, vendor: string, kind: string, status = "active") => ({
  [`/sys/bus/pci/devices/${address}/vendor`]: `${vendor}\n`,
  [`/sys/bus/pci/devices/${address}/class`]: `${kind}\n`,
  [`/sys/bus/pci/devices/${address}/device`]: "0x744c\n",
  [`/sys/bus/pci/devices/${address}/power/runtime_status`]: `${status}\n`,
});

test("GPUs and accelerators are found by vendor and class, their sound and their bridges are not", async () => {
  const host = replayHost(
    undefined,
    files({
      ...device("0000:00:00.0", "0x8086", "0x060000"),
      ...device("0000:03:00.0", "0x1002", "0x030000"),
      ...device("0000:03:00.1", "0x1002", "0x040300"),
      ...device("0000:04:00.0", "0x1002", "0x120000", "suspended"),
      ...device("0000:05:00.0", "0x19e5", "0x030000"),
      ...device("0000:c1:00.0", "0x19e5", "0x120000"),
    }),
  );
  expect(await pciDevices(host, "amd")).toMatchObject([
    { address: "0000:03:00.0", deviceId: "744c", asleep: false },
    { address: "0000:04:00.0", asleep: true },
  ]);
  expect(await pciDevices(host, "huawei")).toMatchObject([{ address: "0000:c1:00.0" }]);
  expect(await pciDevices(host, "intel")).toEqual([]);
});

test("the bus is looked through once for all probes, the sleep of a device each time", async () => {
  let looks = 0;
  const texts = device("0000:03:00.0", "0x1002", "0x030000");
  const plain = files(texts);
  const host = replayHost(undefined, { ...plain, list: (path) => (looks++, plain.list(path)) });
  expect(await pciDevices(host, "amd")).toMatchObject([{ asleep: false }]);
  texts["/sys/bus/pci/devices/0000:03:00.0/power/runtime_status"] = "suspended\n";
  expect(await pciDevices(host, "amd")).toMatchObject([{ asleep: true }]);
  expect(looks).toBe(1);
  host.atMs += 60_000;
  await pciDevices(host, "hygon");
  expect(looks).toBe(2);
});

test.each([
  ["0000:65:00.0", "0000:65:00.0"],
  ["00000000:C1:00.0", "0000:c1:00.0"],
  ["10000:e1:00.0", "10000:e1:00.0"],
  [" 65:00.0", "0000:65:00.0"],
  ["N/A", null],
  ["", null],
  [undefined, null],
])("the address %o is %s", (text, address) => {
  expect(pciAddress(text)).toBe(address);
});
