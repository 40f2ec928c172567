import type { GpuFault } from "../gpu-fault.ts";
import { pciAddress, pciDevices } from "../pci.ts";
import type { KernelRecord } from "../kernel-log.ts";
import type { Probe } from "../probe.ts";

/**
 * As the driver writes it (docs.nvidia.com/deploy/xid-errors): `NVRM: Xid (PCI:0000:65:00): 79, pid=…, GPU has fallen off the bus.`;
 * drivers before 300 leave `PCI:` out.
 */
const XID = /^NVRM: Xid \((?:PCI:)?([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2})(?:\.[0-7])?\): (\d{1,5})\b/i;

/** The Xid error in a line of the kernel's; undefined for any other line. */
export function xidIn({ sequence, text }: KernelRecord): GpuFault | undefined {
  const [, device, xid] = XID.exec(text) ?? [];
  if (device === undefined) return undefined;
  return { id: `kmsg-${sequence}`, pci_address: pciAddress(`${device}.0`), uuid: null, xid: Number(xid) };
}

/** Xid errors of NVIDIA's cards by the kernel's log, where this user may read it. NVML tells them too (nvml.ts). */
export function createXidProbe(): Probe {
  let everSeen = false;
  return {
    name: "nvidia-xid",
    fills: "gpus",
    everyMs: 2000,
    timeoutMs: 2000,
    async probe(host) {
      // One that has fallen off the bus may not be there any more.
      everSeen ||= (await pciDevices(host, "nvidia")).length > 0;
      if (!everSeen) return { values: {}, how: "no NVIDIA GPU on the PCI bus" };
      const records = await host.kernelLog();
      if (records === null) return { values: {}, how: "/dev/kmsg may not be read" };
      return { values: {}, how: "/dev/kmsg", faults: records.flatMap((record) => xidIn(record) ?? []) };
    },
  };
}
