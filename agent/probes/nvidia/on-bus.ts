import { Gpu } from "../../../bus-schemas/node-record.ts";
import { pciDevices, type PciDevice } from "../pci.ts";
import type { ProbeHost } from "../probe.ts";

const PCI = "/sys/bus/pci/devices";
/** WSL has the driver's tools and libraries here, and shows no card on its bus. */
const WSL = "/usr/lib/wsl/lib";

/**
 * What the PCI bus says, by files that wake nothing (Linux ABI: /sys/bus/pci/devices/…/power/runtime_status and control).
 * `none`: no card of NVIDIA's, so its driver need not be looked for. `asleep`: every card is suspended. `may_sleep`: every card would be
 * suspended if nobody used it. `unknown`: the bus cannot tell (Windows, WSL, Jetson), or a card is not managed so.
 */
export type OnBus = "none" | "asleep" | "may_sleep" | "unknown";

/** @returns with `asleep` the cards, with what `lastSeen` knew of them */
export async function lookOnBus(host: ProbeHost, lastSeen: readonly Gpu[]): Promise<{ onBus: OnBus; asleep: Gpu[] }> {
  const cards = await pciDevices(host, "nvidia");
  if (cards.length === 0) return { onBus: (await hasNone(host)) ? "none" : "unknown", asleep: [] };
  if (cards.every((card) => card.asleep))
    return { onBus: "asleep", asleep: cards.slice(0, 64).map((card) => sleeping(card, host, lastSeen)) };
  const controls = await Promise.all(cards.map(({ path }) => host.readText(`${path}/power/control`)));
  return { onBus: controls.every((control) => control?.trim() === "auto") ? "may_sleep" : "unknown", asleep: [] };
}

/** On Arm a GPU may be part of the chip and not be on the bus. */
async function hasNone(host: ProbeHost): Promise<boolean> {
  if (host.platform !== "linux" || host.arch !== "x64") return false;
  return (await host.list(PCI)).length > 0 && (await host.list(WSL)).length === 0;
}

function sleeping({ address }: PciDevice, host: ProbeHost, lastSeen: readonly Gpu[]): Gpu {
  const known = lastSeen.find((gpu) => gpu.pci_address === address) ?? { name: "NVIDIA GPU" };
  const now = {
    vendor: "nvidia",
    pci_address: address,
    asleep: true,
    sampled_at: new Date(host.nowMs()).toISOString(),
  };
  return Gpu.parse({ ...known, ...NOT_NOW, ...now });
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
