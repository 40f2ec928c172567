import { tmpdir } from "node:os";
import { expect, test } from "vitest";
import { Hardware } from "../../bus-schemas/node-record.ts";
import { replayHost, UNHURRIED } from "./fixtures/replay-host.ts";
import { probeOnce } from "./once.ts";

test("each value is told with where it comes from, unknown ones with where they were looked for", async () => {
  const host = replayHost(undefined, { cpuTemperature: async () => ({ main: null, max: null }) });
  const { values, hardware, problems } = await probeOnce({ stateDir: "/state", host }, UNHURRIED);
  expect(problems).toEqual([]);
  expect(values.find(({ field }) => field === "memory_gb")).toEqual({
    field: "memory_gb",
    value: 64,
    probe: "memory",
    how: "systeminformation mem(): total and available",
    sampled_at: "2026-01-01T00:00:00.000Z",
  });
  const temperature = values.find(({ field }) => field === "temperature_celsius");
  expect(temperature).toMatchObject({ value: null, how: "systeminformation cpuTemperature() found no sensor" });
  for (const { field, value } of values) expect(hardware[field]).toEqual(value);
});

test("a broken probe is a problem, the others are told all the same", async () => {
  const host = replayHost(undefined, { memory: () => Promise.reject(new Error("no /proc")) });
  const { hardware, problems } = await probeOnce({ stateDir: "/state", host }, UNHURRIED);
  expect(problems).toMatchObject([{ probe: "memory", message: "failed unexpectedly" }]);
  expect(hardware).toMatchObject({ memory_gb: null, disk_free_gb: 512 });
});

test("this very machine can be probed once", async () => {
  const { hardware } = await probeOnce({ stateDir: tmpdir() }, UNHURRIED);
  expect(Hardware.parse(hardware)).toEqual(hardware);
  expect(hardware.cpu_cores).toBeGreaterThan(0);
});
