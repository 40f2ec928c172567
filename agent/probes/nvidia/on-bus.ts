import { Gpu } from "../../../bus-schemas/node-record.ts";
import type { ProbeHost } from "../probe.ts";

const PCI = "/sys/bus/pci/devices";
/** WSL has the driver's tools and libraries here, and shows no card on its bus. */
const WSL = "/usr/lib/wsl/lib";
/** PCI vendor id of NVIDIA. */
const NVIDIA = "0x10de";
/** PCI base class 03: display controllers (VGA 0x0300, 3D 0x0302). NVIDIA's audio and USB functions are not asked about. */
const DISPLAY = /^0x03[0-9a-f]{4}$/i;
/** Cards do not come and go; only whether they sleep is read each time. Milliseconds. */
const LIST_EVERY_MS = 60_000;

/**
 * What the PCI bus says, by files that wake nothing (Linux ABI: /sys/bus/pci/devices/…/power/runtime_status and control).
 * `none`: no card of NVIDIA's, so its driver need not be looked for. `asleep`: every card is suspended. `may_sleep`: every card would be
 * suspended if nobody used it. `unknown`: the bus cannot tell (Windows, WSL, Jetson), or a card is not managed so.
 */
export type OnBus = "none" | "asleep" | "may_sleep" | "unknown";

/** Where on the PCI bus NVIDIA's cards are, and whether they sleep. */
export class NvidiaOnBus {
  #cards: readonly string[] = [];
  #none = false;
  #listedAtMs: number | undefined;

  async look(host: ProbeHost): Promise<OnBus> {
    if (host.platform !== "linux") return "unknown";
    const nowMs = host.nowMs();
    if (this.#listedAtMs === undefined || nowMs - this.#listedAtMs >= LIST_EVERY_MS || nowMs < this.#listedAtMs) {
      await this.#list(host);
      this.#listedAtMs = nowMs;
    }
    if (this.#none) return "none";
    if (this.#cards.length === 0) return "unknown";
    const all = async (file: string, value: string) => {
      for (const card of this.#cards) if ((await read(host, card, file)) !== value) return false;
      return true;
    };
    if (await all("power/runtime_status", "suspended")) return "asleep";
    return (await all("power/control", "auto")) ? "may_sleep" : "unknown";
  }

  /** The cards that `look` found asleep, with what `lastSeen` knew of them. */
  sleeping(host: ProbeHost, lastSeen: readonly Gpu[]): Gpu[] {
    const now = { vendor: "nvidia", asleep: true, sampled_at: new Date(host.nowMs()).toISOString() };
    return this.#cards.map((card) => {
      const known = lastSeen.find((gpu) => gpu.pci_address === card) ?? { name: "NVIDIA GPU" };
      return Gpu.parse({ ...known, ...NOT_NOW, ...now, pci_address: card });
    });
  }

  async #list(host: ProbeHost): Promise<void> {
    const devices = await host.list(PCI);
    const cards: string[] = [];
    for (const device of devices) {
      if ((await read(host, device, "vendor")) !== NVIDIA) continue;
      if (DISPLAY.test((await read(host, device, "class")) ?? "")) cards.push(device);
    }
    this.#cards = cards.slice(0, 64);
    // On Arm a GPU may be part of the chip and not be on the bus.
    this.#none = cards.length === 0 && devices.length > 0 && host.arch === "x64" && (await host.list(WSL)).length === 0;
  }
}

async function read(host: ProbeHost, device: string, file: string): Promise<string | undefined> {
  return (await host.readText(`${PCI}/${device}/${file}`))?.trim();
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
