import { spawn, type ChildProcess } from "node:child_process";
import { tmpdir } from "node:os";
import { expect, test } from "vitest";
import { Hardware } from "../../bus-schemas/node-record.ts";
import { replayHost, UNHURRIED } from "./fixtures/replay-host.ts";
import { PROBES } from "./index.ts";
import { probeOnce, runAllOnce } from "./once.ts";

const probesOf = () => PROBES.map((create) => create());

test("each value is told with where it comes from, unknown ones with where they were looked for", async () => {
  const host = replayHost(undefined, { cpuTemperature: async () => ({ main: null, max: null }) });
  const { values, hardware, problems } = await runAllOnce(probesOf(), host, UNHURRIED);
  expect(problems).toEqual([]);
  expect(values.find(({ field }) => field === "memory_gb")).toEqual({
    field: "memory_gb",
    value: 64,
    probe: "memory",
    how: "/proc/meminfo: MemTotal, MemAvailable",
    sampled_at: "2026-01-01T00:00:00.000Z",
  });
  const temperature = values.find(({ field }) => field === "temperature_celsius");
  expect(temperature).toMatchObject({ value: null, how: "systeminformation cpuTemperature() found no sensor" });
  for (const { field, value } of values) expect(hardware[field]).toEqual(value);
});

test("a broken probe is a problem, the others are told all the same", async () => {
  const host = replayHost(undefined, { memory: () => Promise.reject(new Error("no /proc")) });
  const { hardware, problems } = await runAllOnce(probesOf(), host, UNHURRIED);
  expect(problems).toMatchObject([{ probe: "memory", message: "failed unexpectedly" }]);
  expect(hardware).toMatchObject({ memory_gb: null, disk_free_gb: 512 });
});

test("this very machine can be probed once, and each value says how it is known", async () => {
  const { hardware, values, problems } = await probeOnce({ stateDir: tmpdir() }, UNHURRIED);
  expect(Hardware.parse(hardware)).toEqual(hardware);
  expect(hardware.cpu_cores).toBeGreaterThan(0);
  expect(values.find(({ field }) => field === "gpus")?.how).toMatch(/NVIDIA|NVML/);
  expect(problems.map(({ probe }) => probe)).not.toContain("worker");
});

test("a process that hangs, crashes or never comes up is told, and nobody waits for it", async () => {
  const processOf = (code: string) => () =>
    spawn(process.execPath, ["-e", code], { stdio: ["ignore", "ignore", "ignore", "ipc"] });
  const messageOf = async (launch: () => ChildProcess, signal = UNHURRIED) => {
    const { values, problems } = await probeOnce({ stateDir: tmpdir(), launch }, signal);
    expect(values).toEqual([]);
    return problems.map(({ message }) => message);
  };
  expect(await messageOf(processOf("process.exit(1)"))).toEqual(["the probes' process ended before it had looked"]);
  expect(await messageOf(() => spawn("/nowhere/node"))).toEqual(["the probes' process cannot be started"]);
  const hangs = processOf("process.send({}); for (;;);");
  const stop = new AbortController();
  const launch = () => {
    const child = hangs();
    child.once("message", () => stop.abort());
    return child;
  };
  expect(await messageOf(launch, stop.signal)).toEqual(["the probes did not end in time"]);
  expect(await messageOf(hangs, stop.signal)).toEqual(["was stopped before it began"]);
});
