import { expect, test } from "vitest";
import { createCpuProbe } from "./cpu.ts";
import { createDiskProbe } from "./disk.ts";
import { core, replayHost, UNHURRIED } from "./fixtures/replay-host.ts";
import { createMemoryProbe } from "./memory.ts";
import { ProbeError, type CoreTimes } from "./probe.ts";
import { createTemperatureProbe } from "./temperature.ts";

/** Answers with one list after the other, the last again and again. */
function coresOverTime(...lists: CoreTimes[][]): () => CoreTimes[] {
  return () => (lists.length > 1 ? lists.shift() : lists[0]) ?? [];
}

const fileError = (code: string) => Object.assign(new Error(`${code}: /home/someone`), { code });

test("CPU utilisation is the busy share since the look before, from the first run on", async () => {
  const cores = coresOverTime([core(0, 0), core(0, 0)], [core(50, 50), core(0, 100)], [core(150, 50), core(100, 100)]);
  const host = replayHost(undefined, { cores });
  const probe = createCpuProbe();
  expect((await probe.probe(host, UNHURRIED)).values).toEqual({
    cpu_cores: 2,
    cpu_model: "Some CPU",
    cpu_utilization: 0.25,
  });
  expect((await probe.probe(host, UNHURRIED)).values.cpu_utilization).toBe(1);
});

test("CPU counters that stand still, run backwards or change in number give no utilisation", async () => {
  const cases: CoreTimes[][][] = [
    [[core(10, 10)], [core(10, 10)]],
    [[core(10, 10)], [core(5, 5)]],
    [[core(10, 10)], [core(5, 100)]],
    [[core(10, 10)], [core(20, 20), core(1, 1)]],
    [[core(10, 10)], [core(Number.NaN, 20)]],
  ];
  for (const lists of cases) {
    const host = replayHost(undefined, { cores: coresOverTime(...lists) });
    expect((await createCpuProbe().probe(host, UNHURRIED)).values.cpu_utilization).toBeNull();
  }
});

test("a system that lists no cores is an error, and one without a model's name has null", async () => {
  await expect(createCpuProbe().probe(replayHost(undefined, { cores: () => [] }), UNHURRIED)).rejects.toThrow(
    ProbeError,
  );
  const nameless = replayHost(undefined, { cores: () => [{ ...core(1, 1), model: "  " }] });
  expect((await createCpuProbe().probe(nameless, UNHURRIED)).values.cpu_model).toBeNull();
});

test("memory is told in GB of 2^30 bytes, free as what programs can still get", async () => {
  const reading = await createMemoryProbe().probe(replayHost(), UNHURRIED);
  expect(reading.values).toEqual({ memory_gb: 64, memory_free_gb: 48 });
});

test("impossible memory is unknown or an error, never 0", async () => {
  const read = (totalBytes: number, availableBytes: number) =>
    createMemoryProbe().probe(
      replayHost(undefined, { memory: async () => ({ totalBytes, availableBytes }) }),
      UNHURRIED,
    );
  expect((await read(2 ** 30, 2 ** 31)).values.memory_free_gb).toBeNull();
  expect((await read(2 ** 30, -1e9)).values.memory_free_gb).toBeNull();
  expect((await read(2 ** 30, Number.NaN)).values.memory_free_gb).toBeNull();
  for (const total of [0, -1, Number.NaN, 1e30]) await expect(read(total, 0)).rejects.toThrow(ProbeError);
});

test.each([
  [{ main: 51.5, max: 60 }, 51.5],
  [{ main: null, max: 60 }, 60],
  [{ main: 0, max: 0 }, null],
  [{ main: -1, max: null }, null],
  [{ main: 1e9, max: null }, null],
  [{ main: Number.NaN, max: null }, null],
  [{ main: null, max: null }, null],
])("CPU temperature %o is %s", async (answer, celsius) => {
  const host = replayHost(undefined, { cpuTemperature: async () => answer });
  expect((await createTemperatureProbe().probe(host, UNHURRIED)).values).toEqual({ temperature_celsius: celsius });
});

test("the disk of a state folder that is not there yet is that of the nearest folder above", async () => {
  const asked: string[] = [];
  const host = replayHost(undefined, {
    stateDir: "/var/lib/tiermesh/state",
    diskFreeBytes: async (path) => {
      asked.push(path);
      if (path !== "/var/lib") throw fileError("ENOENT");
      return 3 * 2 ** 30;
    },
  });
  expect((await createDiskProbe().probe(host, UNHURRIED)).values).toEqual({ disk_free_gb: 3 });
  expect(asked).toEqual(["/var/lib/tiermesh/state", "/var/lib/tiermesh", "/var/lib"]);
});

test("a disk that cannot be asked is an error, impossible space is unknown", async () => {
  const denied = replayHost(undefined, { diskFreeBytes: () => Promise.reject(fileError("EACCES")) });
  await expect(createDiskProbe().probe(denied, UNHURRIED)).rejects.toThrow("EACCES");
  const gone = replayHost(undefined, { diskFreeBytes: () => Promise.reject(fileError("ENOENT")) });
  await expect(createDiskProbe().probe(gone, UNHURRIED)).rejects.toThrow("ENOENT");
  const absurd = replayHost(undefined, { diskFreeBytes: async () => -5e12 });
  expect((await createDiskProbe().probe(absurd, UNHURRIED)).values.disk_free_gb).toBeNull();
});

test("a machine without a temperature sensor is not searched for one again every few seconds", async () => {
  let asked = 0;
  let nowMs = 1_800_000_000_000;
  const host = replayHost(undefined, {
    nowMs: () => nowMs,
    cpuTemperature: async () => {
      asked++;
      return { main: null, max: null };
    },
  });
  const probe = createTemperatureProbe();
  for (let i = 0; i < 100; i++, nowMs += 5000)
    expect((await probe.probe(host, UNHURRIED)).values).toEqual({ temperature_celsius: null });
  expect(asked).toBe(1);
  nowMs += 600_000;
  await probe.probe(host, UNHURRIED);
  expect(asked).toBe(2);
});
