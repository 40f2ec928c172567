import { pciDevices, type PciDevice, type PciVendor } from "../pci.ts";
import { ProbeError, type Probe, type ProbeHost, type Reading } from "../probe.ts";
import { ask, type Tool } from "../tool.ts";
import { gpuFrom, type GpuFacts } from "./facts.ts";

/** A maker of accelerators whose driver brings a tool of its own. */
export interface SmiMaker {
  vendor: PciVendor;
  /** For people, and in front of the name where the tool leaves it out: `910B3` is `Ascend 910B3`. */
  brand: string;
  tool: Omit<Tool, "timeoutMs">;
  args: readonly string[];
  /** What the tool's answer says of each device. @throws ProbeError when it is no answer. */
  read(stdout: string): GpuFacts[];
}

/** npu-smi and its like ask each card in turn, some 0.1 to 0.5 s each. Milliseconds. */
const COMMAND_TIMEOUT_MS = 10_000;
/** Most GPUs that a node record carries. */
const MAX_GPUS = 64;

/**
 * The probe of such a maker: looks on the PCI bus first, so that a tool runs only where its cards are, and not at all while one of
 * them sleeps: the tool would wake it. No card, or no tool and so no driver: [].
 */
export function createSmiProbe(maker: SmiMaker): Probe {
  const { vendor, brand } = maker;
  const tool: Tool = { ...maker.tool, timeoutMs: COMMAND_TIMEOUT_MS };
  return {
    name: vendor,
    fills: "gpus",
    everyMs: 5000,
    idleEveryMs: 30_000,
    timeoutMs: 2 * COMMAND_TIMEOUT_MS,
    async probe(host, signal) {
      const devices = await pciDevices(host, vendor);
      if (devices.length === 0) return { values: { gpus: [] }, how: `no ${brand} device on the PCI bus` };
      if (devices.some(({ asleep }) => asleep)) return sleeping(host, devices, maker);
      const stdout = await ask(host, tool, maker.args, signal);
      if (stdout === undefined) {
        const how = `${devices.length} ${brand} on the PCI bus, but no ${tool.name}: no driver, so it cannot be used`;
        return { values: { gpus: [] }, how };
      }
      const found = maker.read(stdout);
      if (found.length === 0) throw new ProbeError(`${tool.name} lists none of the ${devices.length} ${brand} devices`);
      const sampledAt = new Date(host.nowMs()).toISOString();
      const gpus = found
        .slice(0, MAX_GPUS)
        .map((facts) => gpuFrom({ ...facts, name: branded(facts.name, brand) }, vendor, brand, sampledAt));
      return { values: { gpus }, how: [tool.name, ...maker.args].join(" ") };
    },
  };
}

/** What sysfs says, which wakes nobody. */
function sleeping(host: ProbeHost, devices: PciDevice[], { vendor, brand }: SmiMaker): Reading {
  const sampledAt = new Date(host.nowMs()).toISOString();
  const gpus = devices.map(({ address, deviceId, asleep }) =>
    gpuFrom({ address, asleep }, vendor, `${brand} ${deviceId}`, sampledAt),
  );
  return { values: { gpus }, how: "sysfs: a device sleeps, and its tool would wake it" };
}

function branded(name: unknown, brand: string): unknown {
  if (typeof name !== "string" || name.trim() === "") return undefined;
  return name.toLowerCase().includes(brand.toLowerCase()) ? name : `${brand} ${name}`;
}
