import { expect, test } from "vitest";
import { roundTo } from "../probe.ts";
import { amount, CELSIUS, GB, gpuFrom, RATIO, WATTS, whole } from "./facts.ts";

const NOW = "2026-01-01T00:00:00.000Z";

test.each([
  ["81920MiB", GB, 80],
  ["81920 MiB", GB, 80],
  ["17179869184 B", GB, 16],
  [{ value: 196608, unit: "MB" }, GB, 192],
  ["96.66W", WATTS, 96.66],
  ["1500 mW", WATTS, 1.5],
  ["12 °C", CELSIUS, 12],
  ["7%", RATIO, 0.07],
  ["7 W", RATIO, null],
  ["7", WATTS, null],
  ["N/A", WATTS, null],
  ["1e3 W", WATTS, null],
  [null, WATTS, null],
  [{ value: "N/A", unit: "W" }, WATTS, null],
])("%o is %s", (value, units, expected) => {
  const got = amount(value, units);
  expect(got === null ? null : roundTo(got, 9)).toBe(expected);
});

test("a bare number counts in the unit that its documentation gives", () => {
  expect(amount("17179869184", GB, "b")).toBe(16);
  expect(amount(45, CELSIUS, "c")).toBe(45);
  expect([whole("3"), whole(3), whole("3.5"), whole("-1"), whole(undefined)]).toEqual([3, 3, null, null, null]);
});

test("what cannot be true is unknown, never another number", () => {
  const gpu = gpuFrom(
    {
      name: " ",
      uuid: 7,
      address: "here",
      totalGb: 16,
      usedGb: 17,
      utilization: 1.01,
      celsius: 999,
      watts: -1,
      limitWatts: Number.NaN,
    },
    "amd",
    "AMD GPU 744c",
    NOW,
  );
  expect(gpu).toMatchObject({ name: "AMD GPU 744c", uuid: null, pci_address: null, vram_total_gb: 16 });
  expect(gpu).toMatchObject({ vram_free_gb: null, utilization: null, temperature_celsius: null });
  expect(gpu).toMatchObject({ power_watts: null, power_limit_watts: null, sampled_at: NOW });
  expect(gpuFrom({ totalGb: 0, usedGb: 0 }, "amd", "A", NOW)).toMatchObject({
    vram_total_gb: null,
    vram_free_gb: null,
  });
});
