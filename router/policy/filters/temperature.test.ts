import { expect, test } from "vitest";
import { fleetOf, lookedAt, nodeRecord } from "../../../test/kit/routing.ts";
import { temperature } from "./temperature.ts";

const at = (cpu: number | null, ...gpus: (number | null)[]) =>
  fleetOf(
    nodeRecord({
      hardware: {
        temperature_celsius: cpu,
        gpus: gpus.map((temperature_celsius) => ({ name: "RTX 4090", temperature_celsius })),
      },
    }),
  );

test("a machine that is about to slow down is spared", () => {
  expect(temperature.reject(...lookedAt(at(65, 60, 91)))).toBe("its RTX 4090 is at 91 °C");
  expect(temperature.reject(...lookedAt(at(96)))).toBe("its CPU is at 96 °C");
  expect(temperature.reject(...lookedAt(at(95, 90)))).toBeUndefined();
});

test("one that was too hot comes back when it is 5 °C below the limit, and not before", () => {
  const fleet = at(65, 91);
  const then = (gpu: number) => {
    const hardware = { temperature_celsius: 65, gpus: [{ name: "RTX 4090", temperature_celsius: gpu }] };
    fleet.upsert(nodeRecord({ hardware }), 0);
    return temperature.reject(...lookedAt(fleet));
  };
  expect([91, 89, 86, 85, 89, 91].map(then)).toEqual([
    "its RTX 4090 is at 91 °C",
    "its RTX 4090 is at 89 °C and was above 90 °C",
    "its RTX 4090 is at 86 °C and was above 90 °C",
    undefined,
    undefined,
    "its RTX 4090 is at 91 °C",
  ]);
});

test("an unknown temperature is no obstacle", () => {
  expect(temperature.reject(...lookedAt(at(null, null)))).toBeUndefined();
});
