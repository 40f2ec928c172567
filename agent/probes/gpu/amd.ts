import { pciDevices, type PciDevice } from "../pci.ts";
import { ProbeError, type Probe, type ProbeHost } from "../probe.ts";
import { INVENTORY_MS, Remembered } from "../remember.ts";
import { BYTES_AS_GB, MICRO, MILLI, readLine, readNumber, sensorsOf } from "../sysfs.ts";
import { askAmdTools } from "./amd-tools.ts";
import { completed, gpuFrom, type GpuFacts } from "./facts.ts";

/** AMD's tools are Python programs, a second of one core each: not oftener than so, even where sysfs lacks something. Milliseconds. */
const TOOL_EVERY_MS = 30_000;

/**
 * AMD GPUs on Linux, by what the amdgpu driver writes into sysfs (kernel documentation, "GPU amdgpu: Misc info" and "hwmon interfaces"):
 * no process, no root. amd-smi or rocm-smi add the name once an hour, and what sysfs lacks on this card. A card that sleeps is not
 * woken: of it only what the kernel keeps in memory is read.
 */
export function createAmdProbe(): Probe {
  const names = new Remembered<Told>(INVENTORY_MS);
  const often = new Remembered<Told>(TOOL_EVERY_MS);
  /** The last answer, for the time when a card sleeps. */
  let told: Told = { facts: [], atMs: 0 };
  return {
    name: "amd",
    fills: "gpus",
    everyMs: 5000,
    idleEveryMs: 30_000,
    timeoutMs: 25_000,
    async probe(host, signal) {
      const devices = await pciDevices(host, "amd");
      if (devices.length === 0) return { values: { gpus: [] }, how: "no AMD GPU on the PCI bus" };
      const seen = await Promise.all(devices.map((device) => readCard(host, device)));
      const nowMs = host.nowMs();
      let problem: string | undefined;
      if (!devices.some(({ asleep }) => asleep)) {
        const find = async () => ({ facts: await askAmdTools(host, signal), atMs: nowMs });
        try {
          told = await (seen.some(lacks) ? often : names).get(nowMs, find);
        } catch (error) {
          if (!(error instanceof ProbeError)) throw error;
          problem = error.message;
        }
      }
      const fresh = nowMs - told.atMs < TOOL_EVERY_MS;
      const gpus = seen.map((facts, index) => {
        const more = told.facts.find(({ address }) => address === facts.address);
        const moves = more !== undefined && fresh && facts.asleep !== true && lacks(facts);
        const all = { ...completed(facts, moves ? more : more && still(more)), index };
        // As old as the oldest of its values.
        const sampledAt = new Date(moves ? told.atMs : nowMs).toISOString();
        return gpuFrom(all, "amd", `AMD GPU ${devices[index]?.deviceId ?? ""}`.trim(), sampledAt);
      });
      const how =
        told.facts.length === 0 ? "sysfs of the amdgpu driver" : "sysfs of the amdgpu driver; amd-smi or rocm-smi";
      return { values: { gpus }, how, ...(problem === undefined ? {} : { problem }) };
    },
  };
}

interface Told {
  facts: GpuFacts[];
  atMs: number;
}

async function readCard(host: ProbeHost, { path, address, asleep }: PciDevice): Promise<GpuFacts> {
  const uuid = await readLine(host, `${path}/unique_id`);
  const name = await readLine(host, `${path}/product_name`);
  const totalGb = await readNumber(host, `${path}/mem_info_vram_total`, BYTES_AS_GB);
  const driverVersion = await readLine(host, "/sys/module/amdgpu/version");
  const facts: GpuFacts = { address, uuid, name, totalGb, driverVersion, asleep };
  if (asleep) return facts;
  const sensors = await sensorsOf(host, path);
  const sensor = async (file: string, scale: number) =>
    sensors === null ? null : readNumber(host, `${sensors}/${file}`, scale);
  return {
    ...facts,
    usedGb: await readNumber(host, `${path}/mem_info_vram_used`, BYTES_AS_GB),
    utilization: await readNumber(host, `${path}/gpu_busy_percent`, 0.01),
    celsius: await sensor("temp1_input", MILLI),
    watts: (await sensor("power1_average", MICRO)) ?? (await sensor("power1_input", MICRO)),
    limitWatts: await sensor("power1_cap", MICRO),
  };
}

/** What decides where a job goes; for less, no process is started again and again. */
function lacks({ totalGb, usedGb, utilization }: GpuFacts): boolean {
  return [totalGb, usedGb, utilization].includes(null);
}

/** What does not move: the rest of what the tool said may be an hour old. */
function still({ address, name, uuid, totalGb }: GpuFacts): GpuFacts {
  return { address, name, uuid, totalGb: totalGb ?? null };
}
