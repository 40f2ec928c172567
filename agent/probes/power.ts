import { Watts } from "../../bus-schemas/units.ts";
import { roundTo, validOrNull, type Probe, type ProbeHost } from "./probe.ts";
import { EnergyMeter, MICRO, readLine, readNumber } from "./sysfs.ts";

const POWERCAP = "/sys/class/powercap";
const SUPPLIES = "/sys/class/power_supply";
/** Power is a difference; the first run has nothing to compare with and waits this long, milliseconds. */
const FIRST_SAMPLE_MS = 250;

/**
 * Electrical power of the machine, watts, on Linux. On battery what the battery gives, which is all of the machine; else what the
 * processor's energy counters say (RAPL: the platform where it is counted, else the packages, memory and graphics in them
 * included). Since 2020 the kernel lets only root read those. On a Mac macmon tells it with the GPU's; Windows has no
 * documented way for a program.
 */
export function createPowerProbe(): Probe {
  const meters = new Map<string, EnergyMeter>();
  return {
    name: "power",
    fills: "power",
    everyMs: 2000,
    timeoutMs: 5000,
    async probe(host, signal) {
      if (host.platform !== "linux") return { values: { power_watts: null }, how: "no source on this system" };
      const battery = await ofBatteries(host);
      if (battery !== null) return { values: { power_watts: battery }, how: "power_supply: the batteries discharge" };
      const domains = await raplDomains(host);
      if (domains.length === 0) return { values: { power_watts: null }, how: `no energy counter in ${POWERCAP}` };
      if (domains.some(({ path }) => !meters.has(path))) {
        await look(host, domains, meters);
        await host.pause(FIRST_SAMPLE_MS, signal);
      }
      const watts = await look(host, domains, meters);
      const readable = await readLine(host, `${domains[0]?.path}/energy_uj`);
      const how = readable === null ? `${POWERCAP}: only root may read energy_uj` : `RAPL: ${namesOf(domains)}`;
      return { values: { power_watts: watts }, how };
    },
  };
}

interface Domain {
  path: string;
  name: string;
}

/** `psys` is the platform and holds the rest; else every `package-N`. Their parts (core, dram) are folders below. */
async function raplDomains(host: ProbeHost): Promise<Domain[]> {
  const domains: Domain[] = [];
  for (const zone of (await host.list(POWERCAP)).toSorted()) {
    // The same counters are there a second time by way of memory (intel-rapl-mmio).
    if (!/^intel-rapl:\d+$/.test(zone)) continue;
    const path = `${POWERCAP}/${zone}`;
    const name = await readLine(host, `${path}/name`);
    if (name !== null) domains.push({ path, name });
  }
  const platform = domains.find(({ name }) => name === "psys");
  return platform === undefined ? domains.filter(({ name }) => name.startsWith("package")) : [platform];
}

/** Watts since the look before, all domains together; null unless each of them tells. */
async function look(host: ProbeHost, domains: Domain[], meters: Map<string, EnergyMeter>): Promise<number | null> {
  let sum: number | null = 0;
  for (const { path } of domains) {
    const meter = meters.get(path) ?? new EnergyMeter();
    meters.set(path, meter);
    const joules = await readNumber(host, `${path}/energy_uj`, MICRO);
    const wraps = await readNumber(host, `${path}/max_energy_range_uj`, MICRO);
    const watts = meter.watts(joules, host.nowMs(), wraps);
    sum = sum === null || watts === null ? null : sum + watts;
  }
  return sum === null ? null : validOrNull(Watts, roundTo(sum, 2));
}

/** What the discharging batteries give; null when none discharges. `power_now` in µW, else `current_now` (µA) times `voltage_now` (µV). */
async function ofBatteries(host: ProbeHost): Promise<number | null> {
  let sum: number | null = null;
  for (const name of await host.list(SUPPLIES)) {
    const path = `${SUPPLIES}/${name}`;
    if ((await readLine(host, `${path}/type`)) !== "Battery") continue;
    if ((await readLine(host, `${path}/scope`)) === "Device") continue;
    if ((await readLine(host, `${path}/status`)) !== "Discharging") continue;
    const amps = await readNumber(host, `${path}/current_now`, MICRO);
    const volts = await readNumber(host, `${path}/voltage_now`, MICRO);
    const product = amps === null || volts === null ? null : amps * volts;
    // Some drivers count what leaves the battery as negative; 0 is a gauge that has not measured yet.
    const watts = Math.abs((await readNumber(host, `${path}/power_now`, MICRO)) ?? product ?? 0);
    if (watts > 0) sum = (sum ?? 0) + watts;
  }
  return sum === null ? null : validOrNull(Watts, roundTo(sum, 2));
}

function namesOf(domains: Domain[]): string {
  return domains.map(({ name }) => name).join(", ");
}
