import { Remembered, SEARCH_AGAIN_MS } from "./remember.ts";
import type { ProbeHost } from "./probe.ts";

/**
 * Vendor ids of the PCI SIG, as sysfs writes them. Checked against pci.ids (1002, 10de, 8086, 1d22 "Kunlun AI Accelerator") and
 * gpustack/runtime, whose detectors go by the same ids (19e5, 1d94, 1ed5, cabc, 9999).
 */
export const PCI_VENDORS = {
  nvidia: "0x10de",
  amd: "0x1002",
  intel: "0x8086",
  huawei: "0x19e5",
  hygon: "0x1d94",
  "moore-threads": "0x1ed5",
  cambricon: "0xcabc",
  metax: "0x9999",
  kunlunxin: "0x1d22",
} as const;

export type PciVendor = keyof typeof PCI_VENDORS;

/** PCI base classes: display controllers (03), processing accelerators (12), co-processors (0b40). */
const DISPLAY = /^0x03/;
const ACCELERATOR = /^0x(?:12|0b40)/;
/** Huawei's servers show their consoles by a display controller of Huawei's; its NPUs are accelerators. */
const ONLY_ACCELERATORS: readonly PciVendor[] = ["huawei"];

/** A device that may compute. */
export interface PciDevice {
  /** `0000:65:00.0` */
  address: string;
  /** Folder in sysfs. */
  path: string;
  vendor: PciVendor;
  /** The vendor's number for the model, `744c`. */
  deviceId: string;
  /** Powered down by the kernel; asking its driver or its tool would wake it. */
  asleep: boolean;
}

const DEVICES = "/sys/bus/pci/devices";
/** A look at every device of the bus is a few hundred small files, and cards come and go rarely. */
const scans = new WeakMap<ProbeHost, Remembered<Omit<PciDevice, "asleep">[]>>();

/**
 * The GPUs and accelerators of one vendor, by their address. [] where there is no sysfs (macOS, Windows). Reads only what
 * the kernel keeps in memory: no device is woken by it.
 */
export async function pciDevices(host: ProbeHost, vendor: PciVendor): Promise<PciDevice[]> {
  if (host.platform !== "linux") return [];
  let scan = scans.get(host);
  if (scan === undefined) scans.set(host, (scan = new Remembered(SEARCH_AGAIN_MS)));
  const all = await scan.get(host.nowMs(), () => scanBus(host));
  return Promise.all(
    all
      .filter((device) => device.vendor === vendor)
      .map(async (device) => {
        const status = await host.readText(`${device.path}/power/runtime_status`);
        return { ...device, asleep: status?.trim() === "suspended" };
      }),
  );
}

async function scanBus(host: ProbeHost): Promise<Omit<PciDevice, "asleep">[]> {
  const names = (await host.list(DEVICES)).toSorted();
  const devices = await Promise.all(
    names.map(async (name) => {
      const path = `${DEVICES}/${name}`;
      const address = pciAddress(name);
      const id = (await host.readText(`${path}/vendor`))?.trim();
      const vendor = (Object.keys(PCI_VENDORS) as PciVendor[]).find((key) => PCI_VENDORS[key] === id);
      if (vendor === undefined || address === null) return [];
      const kind = (await host.readText(`${path}/class`))?.trim() ?? "";
      const computes = ACCELERATOR.test(kind) || (DISPLAY.test(kind) && !ONLY_ACCELERATORS.includes(vendor));
      if (!computes) return [];
      const deviceId = (await host.readText(`${path}/device`))?.trim().replace(/^0x/, "") ?? "";
      return [{ address, path, vendor, deviceId }];
    }),
  );
  return devices.flat();
}

/** An address as every tool may spell it (`00000000:65:00.0`, `65:00.0`, capitals) in the one spelling of sysfs; null = none. */
export function pciAddress(text: unknown): string | null {
  if (typeof text !== "string") return null;
  const [, domain = "0000", rest] =
    /^(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])$/.exec(text.trim().toLowerCase()) ?? [];
  return rest === undefined ? null : `${domain.replace(/^0+(?=[0-9a-f]{4})/, "")}:${rest}`;
}
