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

test("an unknown temperature is no obstacle", () => {
  expect(temperature.reject(...lookedAt(at(null, null)))).toBeUndefined();
});
