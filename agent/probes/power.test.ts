import { expect, test } from "vitest";
import { files, replayHost, UNHURRIED } from "./fixtures/replay-host.ts";
import { createPowerProbe } from "./power.ts";

const RAPL = "/sys/class/powercap";
const domain = (zone: string, name: string, microjoules: number | null) => ({
  [`${RAPL}/${zone}/name`]: `${name}\n`,
  [`${RAPL}/${zone}/max_energy_range_uj`]: "262143328850\n",
  ...(microjoules === null ? {} : { [`${RAPL}/${zone}/energy_uj`]: `${microjoules}\n` }),
});

/** A machine whose counters are those of `texts`; a pause moves the clock. */
function machine(texts: Record<string, string>, during: () => void = () => {}) {
  const host = replayHost(undefined, {
    ...files(texts),
    pause: async (ms) => {
      host.atMs += ms;
      during();
    },
  });
  return host;
}

test("power is what the packages used between two looks, from the first run on", async () => {
  const texts = {
    ...domain("intel-rapl:0", "package-0", 1_000_000),
    ...domain("intel-rapl:1", "package-1", 5_000_000),
  };
  const host = machine(texts, () => Object.assign(texts, domain("intel-rapl:0", "package-0", 6_000_000)));
  const probe = createPowerProbe();
  expect(await probe.probe(host, UNHURRIED)).toMatchObject({
    values: { power_watts: 20 },
    how: "RAPL: package-0, package-1",
  });
  host.atMs += 2000;
  Object.assign(texts, domain("intel-rapl:1", "package-1", 85_000_000));
  expect((await probe.probe(host, UNHURRIED)).values).toEqual({ power_watts: 40 });
});

test("the platform's counter holds the packages and is not added to them; their parts and doubles are left out", async () => {
  const texts = {
    ...domain("intel-rapl:0", "package-0", 0),
    ...domain("intel-rapl:1", "psys", 0),
    ...domain("intel-rapl:0:0", "core", 0),
    ...domain("intel-rapl-mmio:0", "package-0", 0),
  };
  const host = machine(texts, () => {
    for (const zone of ["intel-rapl:0", "intel-rapl:0:0", "intel-rapl-mmio:0"]) {
      Object.assign(texts, domain(zone, "package-0", 5_000_000));
    }
    Object.assign(texts, domain("intel-rapl:1", "psys", 10_000_000));
  });
  expect((await createPowerProbe().probe(host, UNHURRIED)).values).toEqual({ power_watts: 40 });
});

test("a counter that has begun anew is counted on", async () => {
  const texts = domain("intel-rapl:0", "package-0", 262_143_328_850 - 1_000_000);
  const host = machine(texts, () => Object.assign(texts, domain("intel-rapl:0", "package-0", 4_000_000)));
  expect((await createPowerProbe().probe(host, UNHURRIED)).values.power_watts).toBeCloseTo(20, 2);
});

test("counters that only root may read are unknown, and why", async () => {
  const host = machine(domain("intel-rapl:0", "package-0", null));
  expect(await createPowerProbe().probe(host, UNHURRIED)).toEqual({
    values: { power_watts: null },
    how: "/sys/class/powercap: only root may read energy_uj",
  });
});

test.each([
  [{ power_now: "12500000" }, 12.5],
  [{ power_now: "-12500000" }, 12.5],
  [{ current_now: "1500000", voltage_now: "12000000" }, 18],
  [{ power_now: "0" }, null],
  [{}, null],
])("a discharging battery with %o gives %s W", async (values, watts) => {
  const all = { type: "Battery", status: "Discharging", ...values };
  const texts = Object.entries(all).map(([name, value]) => [`/sys/class/power_supply/BAT0/${name}`, value]);
  const reading = await createPowerProbe().probe(machine(Object.fromEntries(texts)), UNHURRIED);
  expect(reading.values).toEqual({ power_watts: watts });
});
