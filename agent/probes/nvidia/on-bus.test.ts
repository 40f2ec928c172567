import { expect, test } from "vitest";
import { Gpu } from "../../../bus-schemas/node-record.ts";
import { replayHost, UNHURRIED, type ReplayHost } from "../fixtures/replay-host.ts";
import { createNvidiaProbe } from "./probe.ts";
import type { NvidiaStep } from "./step.ts";

const ROOT = "/sys/bus/pci/devices";

interface Device {
  vendor: string;
  class: string;
  status: string | null;
  control?: string;
}

/** A laptop's PCI bus; `asked` of the host says which program was run. */
function laptop(devices: Record<string, Device>): ReplayHost {
  return replayHost(undefined, {
    list: async (path) => (path === ROOT ? Object.keys(devices) : []),
    readText: async (path) => {
      const [address = "", file] = path.slice(ROOT.length + 1).split(/\/(.*)/);
      const device = devices[address];
      if (file === "power/runtime_status") return device?.status === null ? null : `${device?.status}\n`;
      if (file === "power/control") return `${device?.control ?? "on"}\n`;
      return device === undefined ? null : `${file === "vendor" ? device.vendor : device.class}\n`;
    },
  });
}

const INTEL = { vendor: "0x8086", class: "0x030000", status: "active" };
const AUDIO = { vendor: "0x10de", class: "0x040300", status: "active" };
const nvidia = (status: string | null) => ({ vendor: "0x10de", class: "0x030200", status });

/** Says when it is asked. */
function step(facts: Partial<Gpu> = {}) {
  const calls: string[] = [];
  const gpu = Gpu.parse({
    name: "NVIDIA RTX 4070 Laptop",
    pci_address: "0000:01:00.0",
    vram_total_gb: 8,
    power_watts: 9,
    ...facts,
  });
  const one: NvidiaStep = {
    name: "test",
    read: async () => {
      calls.push("read");
      return { gpus: [gpu], problems: [] };
    },
    release: async () => void calls.push("release"),
  };
  return { calls, probe: createNvidiaProbe({ steps: () => [one] }) };
}

test("a card that sleeps is told without a question to anybody that would wake it", async () => {
  const { calls, probe } = step();
  const host = laptop({ "0000:00:02.0": INTEL, "0000:01:00.0": nvidia("suspended"), "0000:01:00.1": AUDIO });
  const { values, how } = await probe.probe(host, UNHURRIED);
  expect(values.gpus).toMatchObject([
    { name: "NVIDIA GPU", vendor: "nvidia", pci_address: "0000:01:00.0", asleep: true, power_watts: null },
  ]);
  expect(Gpu.array().parse(values.gpus)).toEqual(values.gpus);
  expect(how).toContain("none was woken");
  expect(calls).not.toContain("read");
  expect(host.asked).toEqual([]);
});

test("what was known of it stays, what moves does not, and the library lets go of it", async () => {
  const devices = { "0000:01:00.0": nvidia("active") };
  const { calls, probe } = step();
  const host = laptop(devices);
  expect((await probe.probe(host, UNHURRIED)).values.gpus).toMatchObject([{ power_watts: 9, asleep: null }]);
  devices["0000:01:00.0"].status = "suspended";
  expect((await probe.probe(host, UNHURRIED)).values.gpus).toMatchObject([
    { name: "NVIDIA RTX 4070 Laptop", vram_total_gb: 8, power_watts: null, asleep: true },
  ]);
  expect(calls).toEqual(["read", "release"]);
});

test.each([
  ["one of two is awake", { "0000:01:00.0": nvidia("suspended"), "0000:02:00.0": nvidia("active") }],
  ["the kernel does not say", { "0000:01:00.0": nvidia(null) }],
  ["there is no PCI bus (a container, WSL)", {}],
])("the driver is asked when %s", async (_why, devices: Record<string, Device>) => {
  const { calls, probe } = step();
  await probe.probe(laptop(devices), UNHURRIED);
  expect(calls).toEqual(["read"]);
});

test("where no card of NVIDIA's is on the bus its driver is not looked for, but for chips and systems that show none there", async () => {
  const devices = { "0000:00:02.0": INTEL };
  const asks = async (parts: Partial<ReplayHost>) => {
    const { calls, probe } = step();
    const { values, how } = await probe.probe({ ...laptop(devices), ...parts }, UNHURRIED);
    return calls.length === 0 ? how : values.gpus?.length;
  };
  expect(await asks({})).toBe("no NVIDIA GPU on the PCI bus");
  expect(await asks({ arch: "arm64" })).toBe(1);
  const wsl = ["libnvidia-ml.so.1"];
  expect(await asks({ list: async (path) => (path === ROOT ? Object.keys(devices) : wsl) })).toBe(1);
});

test("a GPU that may sleep and that nobody uses is left alone for a while; one that works is not", async () => {
  const devices = { "0000:01:00.0": { ...nvidia("active"), control: "auto" } };
  const idle = step({ utilization: 0, processes: [] });
  const host = laptop(devices);
  await idle.probe.probe(host, UNHURRIED);
  host.atMs += 59_000;
  expect((await idle.probe.probe(host, UNHURRIED)).how).toContain("so that it may sleep");
  expect(idle.calls).toEqual(["read", "release"]);
  host.atMs += 1000;
  await idle.probe.probe(host, UNHURRIED);
  expect(idle.calls).toEqual(["read", "release", "read", "release"]);
  for (const busy of [step({ utilization: 0.5 }), step({ utilization: 0, processes: [{ pid: 1, vram_gb: 1 }] })]) {
    await busy.probe.probe(host, UNHURRIED);
    await busy.probe.probe(host, UNHURRIED);
    expect(busy.calls).toEqual(["read", "read"]);
  }
});
