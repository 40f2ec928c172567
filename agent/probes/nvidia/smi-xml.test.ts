import childProcess from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Gpu } from "../../../bus-schemas/node-record.ts";
import { replayHost, UNHURRIED } from "../fixtures/replay-host.ts";
import { parseXml, readLog, smiXml } from "./smi-xml.ts";
import { Smi } from "./smi.ts";

// Real reports (from utkuozdemir/nvidia_gpu_exporter, MIT), beside the project and not part of it.
const FOLDER = new URL("../../../../shared/captures/nvidia-smi/", import.meta.url);
const names = existsSync(FOLDER) ? readdirSync(FOLDER).filter((name) => name.endsWith(".xml")) : [];
const skip = names.length === 0 ? `no captures at ${FOLDER.pathname}` : undefined;
const capture = (name: string) => readFileSync(new URL(name, FOLDER), "utf8");

async function read(stdout: string, code = 0) {
  const host = replayHost(() => ({ code, stdout }));
  const reading = await smiXml(new Smi(1000)).read(host, UNHURRIED);
  expect(host.asked).toEqual(["nvidia-smi -q -x"]);
  for (const gpu of reading.gpus) expect(Gpu.parse(gpu)).toEqual(gpu);
  return reading;
}

const CAPTURED = {
  "a10g.xml": {
    name: "NVIDIA A10G",
    vram_total_gb: 22.488,
    temperature_celsius: 17,
    power_watts: 25.58,
    power_limit_watts: 300,
    driver_version: "515.105.01",
    pci_address: "0000:00:1e.0",
    throttled: [],
  },
  "gtx-1070-ti.xml": {
    name: "GeForce GTX 1070 Ti",
    vram_total_gb: 4,
    vram_free_gb: 3.959,
    utilization: 0,
    temperature_celsius: 39,
    power_watts: null,
    throttled: null,
    processes: null,
    pci_address: "0000:01:00.0",
  },
  "rtx-3080-v12.xml": {
    vram_total_gb: 10,
    power_watts: 22.78,
    power_limit_watts: 336,
    mig_mode: null,
    mig_instances: [],
    throttled: [],
  },
  "rtx-4000-sff-ada-v13.xml": { name: "NVIDIA RTX 4000 SFF Ada Generation", throttled: [], mig_mode: null },
};

test("every captured report is read whole, whatever its version", async ({ skip: leaveOut }) => {
  if (skip !== undefined) leaveOut(skip);
  expect(names.toSorted()).toEqual(Object.keys(CAPTURED));
  for (const [name, facts] of Object.entries(CAPTURED)) {
    const { gpus, problems } = await read(capture(name));
    expect(problems).toEqual([]);
    expect(gpus).toMatchObject([{ index: 0, vendor: "nvidia", ...facts }]);
    expect(gpus[0]?.uuid).toMatch(/^GPU-/);
  }
});

test("who holds memory is told by process id, the names of programs stay out", async ({ skip: leaveOut }) => {
  if (skip !== undefined) leaveOut(skip);
  const { gpus } = await read(capture("rtx-3080-v12.xml"));
  expect(gpus[0]?.processes?.slice(0, 1)).toEqual([{ pid: 835, vram_gb: 0.537 }]);
  expect(JSON.stringify(gpus)).not.toContain("Xorg");
});

const report = (gpus: string) => `<?xml version="1.0" ?><nvidia_smi_log>${gpus}</nvidia_smi_log>`;

test("heat and the power cap are told apart", async () => {
  const reasons = ["sw_power_cap", "hw_thermal_slowdown", "sw_thermal_slowdown"]
    .map((reason) => `<clocks_event_reason_${reason}>Active</clocks_event_reason_${reason}>`)
    .join("");
  const { gpus } = await read(
    report(`<gpu id="00000000:C1:00.0"><clocks_event_reasons>${reasons}</clocks_event_reasons></gpu>`.repeat(2)),
  );
  const throttled = ["sw_power_cap", "sw_thermal_slowdown", "hw_thermal_slowdown"];
  expect(gpus).toMatchObject([{ index: 0, throttled, pci_address: "0000:c1:00.0" }, { index: 1 }]);
});

test("MIG devices have their memory, and a GB10 the machine's", () => {
  const gpu = `<gpu><mig_mode><current_mig>Enabled</current_mig></mig_mode><mig_devices><mig_device><fb_memory_usage>
    <total>19968 MiB</total></fb_memory_usage></mig_device></mig_devices><fb_memory_usage><total>N/A</total></fb_memory_usage></gpu>`;
  expect(readLog(parseXml(report(gpu)), { arch: "arm64", nowMs: () => 0 })).toMatchObject([
    { mig_mode: true, mig_instances: [{ uuid: null, profile: null, vram_total_gb: 19.5 }], unified_memory: true },
  ]);
});

test("what is no report is an error in nvidia-smi's words, and a driver without cards is none", async () => {
  await expect(read("NVIDIA-SMI has failed", 9)).rejects.toThrow('"NVIDIA-SMI has failed" (exit code 9)');
  await expect(read("")).rejects.toThrow("answered nothing");
  await expect(read("<nvidia_smi_log><gpu>")).rejects.toMatchObject({ failure: "broken" });
  await expect(read(report(""))).rejects.toThrow("lists no GPU");
  expect(await read("No devices were found", 6)).toEqual({ gpus: [], problems: [] });
});

test("a report cannot reach into objects: xml2js is a version without that hole", async () => {
  const { gpus } = await read(report("<gpu><__proto__><polluted>yes</polluted></__proto__><uuid>GPU-1</uuid></gpu>"));
  expect(gpus).toHaveLength(1);
  expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
});

test("whatever the elements say, the result fits the wire schema", () => {
  const element = fc.constantFrom(
    "fb_memory_usage",
    "total",
    "free",
    "gpu_util",
    "utilization",
    "processes",
    "pid",
    "pci",
  );
  const value = fc.oneof(fc.string(), fc.constantFrom("N/A", "-1 MiB", "999999999 MiB", "101 %", "1e9 W"));
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: 3 },
      value,
      fc.dictionary(element, tie("tree")),
      fc.array(tie("tree"), { maxLength: 3 }),
    ),
  }));
  fc.assert(
    fc.property(tree, (gpu) => {
      const gpus = readLog({ nvidia_smi_log: { gpu } }, { arch: "arm64", nowMs: () => 0 });
      for (const one of gpus) expect(Gpu.parse(one)).toEqual(one);
    }),
  );
});

test("the package starts no program of its own, and others still can", () => {
  parseXml(report(""));
  expect(childProcess.exec.name).toBe("exec");
});
