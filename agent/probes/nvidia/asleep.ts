import { Gpu } from "../../../bus-schemas/node-record.ts";
import type { ProbeHost } from "../probe.ts";

const PCI = "/sys/bus/pci/devices";
/** PCI vendor id of NVIDIA. */
const NVIDIA = "0x10de";
/** PCI base class 03: display controllers (VGA 0x0300, 3D 0x0302). NVIDIA's audio and USB functions are not asked about. */
const DISPLAY = /^0x03[0-9a-f]{4}$/i;

/** Cards do not come and go; only whether they sleep is read each time. Milliseconds. */
const LIST_EVERY_MS = 60_000;

/** Looks whether all NVIDIA GPUs sleep; it remembers where they are. */
export class SleepWatch {
  #addresses: readonly string[] = [];
  #listedAtMs: number | undefined;

  /**
   * The NVIDIA GPUs of a Linux machine where every one of them is suspended (Linux ABI: /sys/bus/pci/devices/…/power/runtime_status), with
   * what `lastSeen` knew of them. undefined = one is awake, there is none, or the machine cannot tell. Reading sysfs wakes nothing.
   */
  async sleepingGpus(host: ProbeHost, lastSeen: readonly Gpu[]): Promise<Gpu[] | undefined> {
    if (host.platform !== "linux") return undefined;
    const nowMs = host.nowMs();
    if (this.#listedAtMs === undefined || nowMs - this.#listedAtMs >= LIST_EVERY_MS || nowMs < this.#listedAtMs) {
      this.#addresses = await gpuAddresses(host);
      this.#listedAtMs = nowMs;
    }
    for (const address of this.#addresses) {
      if ((await read(host, address, "power/runtime_status")) !== "suspended") return undefined;
    }
    if (this.#addresses.length === 0) return undefined;
    const sampledAt = new Date(nowMs).toISOString();
    return this.#addresses.map((address) => {
      const known = lastSeen.find((gpu) => gpu.pci_address === address) ?? { name: "NVIDIA GPU" };
      const now = { vendor: "nvidia", pci_address: address, asleep: true, sampled_at: sampledAt };
      return Gpu.parse({ ...known, ...NOT_NOW, ...now });
    });
  }
}

async function gpuAddresses(host: ProbeHost): Promise<string[]> {
  const found: string[] = [];
  for (const address of await host.list(PCI)) {
    if ((await read(host, address, "vendor")) !== NVIDIA) continue;
    if (DISPLAY.test((await read(host, address, "class")) ?? "")) found.push(address);
  }
  return found.slice(0, 64);
}

async function read(host: ProbeHost, address: string, file: string): Promise<string | undefined> {
  return (await host.readText(`${PCI}/${address}/${file}`))?.trim();
}

/** What a sleeping card cannot say. It uses next to no power, but how little is not measured. */
const NOT_NOW = {
  vram_free_gb: null,
  utilization: null,
  temperature_celsius: null,
  power_watts: null,
  throttled: null,
  processes: null,
  energy_joules: null,
};
