import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Hardware } from "../../bus-schemas/node-record.ts";
import { HardwarePicture, unknownHardware, withoutMoving } from "./hardware.ts";
import { replayHost, UNHURRIED } from "./fixtures/replay-host.ts";
import { PROBES } from "./index.ts";
import { createNvidiaProbe } from "./nvidia/probe.ts";
import type { Probe } from "./probe.ts";

const CSV = readFileSync(new URL("fixtures/two-gpus.csv", import.meta.url), "utf8");
const probe = (name: string, fills: Probe["fills"]): Probe => ({
  name,
  fills,
  everyMs: 1000,
  timeoutMs: 1000,
  probe: () => Promise.reject(new Error("not run here")),
});

test("before anything was found everything is unknown and fits the wire schema", () => {
  const hardware = unknownHardware({ platform: "linux", arch: "arm64" });
  expect(Hardware.parse(hardware)).toEqual(hardware);
  expect(hardware).toMatchObject({ platform: "linux", arch: "arm64", gpus: [], cpu_cores: null, memory_gb: null });
  expect(new Set(Object.values(hardware.sampled_at))).toEqual(new Set([null]));
});

test("every probe of the list has a name of its own and fits into one whole record", async () => {
  const host = replayHost(() => ({ stdout: CSV }));
  const probes = PROBES.map((create) => create());
  expect(new Set(probes.map(({ name }) => name)).size).toBe(probes.length);
  const picture = new HardwarePicture(probes, host);
  for (const one of probes) {
    expect(picture.complete).toBe(false);
    picture.succeeded(one, await one.probe(host, UNHURRIED));
  }
  expect(picture.complete).toBe(true);
  const hardware = picture.current();
  expect(Hardware.parse(hardware)).toEqual(hardware);
  expect(hardware).toMatchObject({ cpu_cores: 1, memory_gb: 64, temperature_celsius: 51.5, disk_free_gb: 512 });
  expect(hardware.gpus).toHaveLength(2);
  expect(Object.values(hardware.sampled_at)).not.toContain(null);
});

test("two probes of GPUs add up, and the part is as old as the older of them", () => {
  const host = replayHost();
  const [one, two] = [probe("one", "gpus"), probe("two", "gpus")];
  const picture = new HardwarePicture([one, two], host);
  const gpu = Hardware.parse({ gpus: [{ name: "A" }] }).gpus;
  picture.succeeded(two, { values: { gpus: gpu }, how: "" });
  host.atMs += 500;
  picture.succeeded(one, { values: { gpus: gpu }, how: "" });
  expect(picture.current().gpus).toHaveLength(2);
  expect(picture.current().sampled_at.gpus).toBe("2026-01-01T00:00:00.000Z");
});

test("a device that two probes see by one PCI address is reported once, two chips of one card are not mixed up", () => {
  const host = replayHost();
  const [one, two] = [probe("one", "gpus"), probe("two", "gpus")];
  const picture = new HardwarePicture([one, two], host);
  const gpus = (...names: string[]) =>
    Hardware.parse({ gpus: names.map((name) => ({ name, pci_address: "0000:65:00.0" })) }).gpus;
  const unplaced = Hardware.parse({ gpus: [{ name: "C" }] }).gpus;
  picture.succeeded(two, { values: { gpus: gpus("B") }, how: "" });
  picture.succeeded(one, { values: { gpus: [...gpus("A1", "A2"), ...unplaced] }, how: "" });
  expect(picture.current().gpus.map(({ name }) => name)).toEqual(["A1", "A2", "C"]);
});

test("what one probe cannot tell hides nothing that another one has told", () => {
  const host = replayHost();
  const [one, two] = [probe("one", "temperature"), probe("two", "gpus")];
  const picture = new HardwarePicture([one, two], host);
  picture.succeeded(one, { values: { temperature_celsius: 50 }, how: "" });
  picture.succeeded(two, { values: { gpus: [], temperature_celsius: null, power_watts: 9 }, how: "" });
  expect(picture.current()).toMatchObject({ temperature_celsius: 50, power_watts: 9 });
});

test("what changes by the second is unknown once it is old, what the machine is made of stays", () => {
  const {
    gpus: [gpu],
    ...still
  } = withoutMoving({
    ...Hardware.parse({
      cpu_cores: 8,
      memory_gb: 64,
      power_watts: 40,
      thermal_pressure: "nominal",
      battery_level: 0.5,
      on_battery: true,
      user_idle_seconds: 5,
      metered: false,
      gpus: [{ name: "A", vram_total_gb: 24, vram_free_gb: 20, energy_joules: 1, processes: [], asleep: false }],
    }),
  });
  expect(still).toMatchObject({ cpu_cores: 8, memory_gb: 64, power_watts: null, thermal_pressure: null });
  expect(still).toMatchObject({ battery_level: null, on_battery: null, user_idle_seconds: null, metered: null });
  expect(gpu).toMatchObject({ vram_total_gb: 24, vram_free_gb: null, energy_joules: null, processes: null });
});

test("a problem keeps its beginning while it lasts and goes when the probe works again", () => {
  const host = replayHost();
  const cpu = probe("cpu", "cpu");
  const picture = new HardwarePicture([cpu], host);
  picture.failed(cpu, "first");
  host.atMs += 5000;
  picture.failed(cpu, "x".repeat(1000));
  expect(picture.problems()).toEqual([{ probe: "cpu", message: "x".repeat(300), since: "2026-01-01T00:00:00.000Z" }]);
  picture.succeeded(cpu, { values: {}, how: "", problem: "half" });
  expect(picture.problems()).toMatchObject([{ message: "half", since: "2026-01-01T00:00:00.000Z" }]);
  picture.succeeded(cpu, { values: {}, how: "" });
  expect(picture.problems()).toEqual([]);
});

test("while a probe fails its last reading stays with its time, until what moves is no longer known", async () => {
  const host = replayHost(() => ({ stdout: CSV }));
  const nvidia = createNvidiaProbe();
  const picture = new HardwarePicture([nvidia], host);
  picture.succeeded(nvidia, await nvidia.probe(host, UNHURRIED));
  picture.failed(nvidia, "hangs");
  expect(picture.current().gpus[0]).toMatchObject({ vram_free_gb: 18, utilization: 0.25 });
  host.atMs += 3 * (nvidia.everyMs + nvidia.timeoutMs) + 1;
  expect(picture.current().gpus[0]).toMatchObject({
    name: "NVIDIA GeForce RTX 4090",
    vram_total_gb: 23.988,
    vram_free_gb: null,
    utilization: null,
    temperature_celsius: null,
    power_watts: null,
    throttled: null,
  });
  expect(picture.current().sampled_at.gpus).toBe("2026-01-01T00:00:00.000Z");
});
