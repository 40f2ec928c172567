import { expect, onTestFinished, test } from "vitest";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { tempDir } from "../../../test/kit/temp-dir.ts";
import { files, replayHost, UNHURRIED } from "../fixtures/replay-host.ts";
import { KernelLog, parseKernelRecord } from "../kernel-log.ts";
import { createXidProbe, xidIn } from "./xid.ts";

/** Lines as NVIDIA's documentation of Xid errors and reports of their users have them. */
const LINES: readonly [line: string, device: string, xid: number][] = [
  ["NVRM: Xid (PCI:0000:65:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.", "0000:65:00.0", 79],
  [
    "NVRM: Xid (PCI:0000:C1:00): 48, pid=1234, An uncorrectable double bit error (DBE) has been detected",
    "0000:c1:00.0",
    48,
  ],
  ["NVRM: Xid (0000:03:00): 13, Graphics Exception: ESR 0x405840=0xa204020e", "0000:03:00.0", 13],
  [
    "NVRM: Xid (PCI:00000001:00:00.0): 119, pid=77, name=python, Timeout after 6s of waiting for RPC response",
    "0001:00:00.0",
    119,
  ],
];

test.each(LINES)("%s", (text, pci_address, xid) => {
  expect(xidIn({ sequence: 12, text })).toEqual({ id: "kmsg-12", pci_address, uuid: null, xid });
});

test.each([
  "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  580.65.06",
  "NVRM: Xid (PCI:0000:65:00): seventy-nine",
  "usb 1-1: NVRM: Xid (PCI:0000:65:00): 79, a device that calls itself so",
  "",
])("%j is no Xid error", (text) => expect(xidIn({ sequence: 1, text })).toBeUndefined());

test("a record of the kernel's is read, and one that a program wrote is not", () => {
  const line = "NVRM: Xid (PCI:0000:65:00): 79, GPU has fallen off the bus.";
  expect(parseKernelRecord(`3,4711,98765432,-;${line}\n SUBSYSTEM=pci\n`)).toEqual({ sequence: 4711, text: line });
  expect(parseKernelRecord(`6,4712,98765433,-,caller=T1;${line}\n`)).toEqual({ sequence: 4712, text: line });
  // Facility 1 is "user": whoever may write to /dev/kmsg. Level 3 of it is 11.
  expect(parseKernelRecord(`11,4713,98765434,-;${line}\n`)).toBeUndefined();
  for (const text of ["", "garbage", ";", "3,x,1,-;a", `${"9".repeat(40)},1,1,-;a`])
    expect(parseKernelRecord(text)).toBeUndefined();
});

test("a log that is not there or may not be read is null, each time anew", async () => {
  const folder = tempDir("tiermesh-kmsg-");
  onTestFinished(() => folder.remove());
  const log = new KernelLog(join(folder.path, "kmsg"));
  expect(await log.read()).toBeNull();
  writeFileSync(join(folder.path, "kmsg"), "6,1,5,-;booting\n");
  expect(await log.read()).toEqual([{ sequence: 1, text: "booting" }]);
  expect(await log.read()).toEqual([]);
});

const CARD = {
  "/sys/bus/pci/devices/0000:65:00.0/vendor": "0x10de\n",
  "/sys/bus/pci/devices/0000:65:00.0/class": "0x030200\n",
};

test("the probe tells each Xid error of the log, and asks for the log only where there is a card", async () => {
  let reads = 0;
  const kernelLog = () => {
    reads++;
    return Promise.resolve([
      { sequence: 8, text: "NVRM: Xid (PCI:0000:65:00): 79, GPU has fallen off the bus." },
      { sequence: 9, text: "eth0: link up" },
    ]);
  };
  const none = await createXidProbe().probe(replayHost(undefined, { kernelLog }), UNHURRIED);
  expect([none.faults, reads]).toEqual([undefined, 0]);
  const { faults, values } = await createXidProbe().probe(
    replayHost(undefined, { ...files(CARD), kernelLog }),
    UNHURRIED,
  );
  expect(faults).toEqual([{ id: "kmsg-8", pci_address: "0000:65:00.0", uuid: null, xid: 79 }]);
  expect(values).toEqual({});
});
