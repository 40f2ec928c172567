import { existsSync, readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Hardware } from "../../../bus-schemas/node-record.ts";
import { replayHost, UNHURRIED, type Answers } from "../fixtures/replay-host.ts";
import { createNvidiaProbe } from "./probe.ts";

// Real transcripts of nvidia-smi (from utkuozdemir/nvidia_gpu_exporter, MIT), beside the project and not part of it.
const FOLDER = new URL("../../../../shared/captures/nvidia-smi/", import.meta.url);
const names = existsSync(FOLDER) ? readdirSync(FOLDER).filter((name) => name.endsWith(".txt")) : [];
const skip = names.length === 0 ? `no captures at ${FOLDER.pathname}` : undefined;

/** The output under a heading such as `idle :: query (-q)`. */
function section(text: string, heading: string): string {
  const at = text.indexOf(`# ${heading}`);
  if (at === -1) throw new Error(`the capture has no ${heading}`);
  const start = text.indexOf("\n####", at);
  const body = text.slice(text.indexOf("\n", start + 1) + 1);
  const end = body.indexOf("\n####");
  return end === -1 ? body : body.slice(0, end);
}

/** A machine that answers from a transcript: its CSV has every field with units, the answer has those that were asked. */
function machine(text: string, moment: "idle" | "load"): Answers {
  return (_program, args) => {
    if (args[0] === "-L") return { stdout: section(text, "capabilities :: list (-L)") };
    if (args[0]?.startsWith("--query-compute-apps")) return { stdout: computeApps(text, moment) };
    if (args[0] === "-q") return { stdout: section(text, `${moment} :: query (-q)`) };
    const [header = "", ...rows] = section(text, `${moment} :: query-gpu`).trim().split("\n");
    const columns = header.split(", ").map((column) => column.replace(/ \[.*\]$/, ""));
    const fields = (args[0] ?? "").replace("--query-gpu=", "").split(",");
    const refused = fields.find((field) => !columns.includes(field));
    if (refused !== undefined) return { code: 2, stdout: `Field "${refused}" is not a valid field to query.` };
    const pick = (row: string) => fields.map((field) => row.split(", ")[columns.indexOf(field)]).join(", ");
    return { stdout: rows.map(pick).join("\n") };
  };
}

/** The recorded columns are timestamp, gpu_name, gpu_bus_id, gpu_serial, gpu_uuid, pid, process_name, used_gpu_memory [MiB]. */
function computeApps(text: string, moment: "idle" | "load"): string {
  const [, ...rows] = section(text, `${moment} :: query-compute-apps`).trim().split("\n");
  return rows.map((row) => [4, 5, -1].map((at) => row.split(", ").at(at)).join(", ")).join("\n");
}

async function gpusOf(part: string, moment: "idle" | "load") {
  const name = names.find((candidate) => candidate.includes(part));
  if (name === undefined) throw new Error(`no capture of ${part}`);
  const host = replayHost(machine(readFileSync(new URL(name, FOLDER), "utf8"), moment));
  const reading = await createNvidiaProbe().probe(host, UNHURRIED);
  expect(reading.problem).toBeUndefined();
  return Hardware.parse({ gpus: reading.values.gpus }).gpus;
}

test("a captured RTX 4080 SUPER under load is read whole", async ({ skip: leaveOut }) => {
  if (skip !== undefined) leaveOut(skip);
  expect(await gpusOf("4080", "load")).toMatchObject([
    {
      index: 0,
      name: "NVIDIA GeForce RTX 4080 SUPER",
      vram_total_gb: 15.992,
      vram_free_gb: 14.131,
      utilization: 0.07,
      temperature_celsius: 46,
      power_watts: 84.24,
      power_limit_watts: 320,
      driver_version: "595.71.05",
      mig_mode: null,
      throttled: [],
    },
  ]);
});

test("a captured H100 idle and under load differs where it should", async ({ skip: leaveOut }) => {
  if (skip !== undefined) leaveOut(skip);
  expect(await gpusOf("h100", "idle")).toMatchObject([
    { utilization: 0, power_watts: 69.85, mig_mode: false, throttled: [] },
  ]);
  expect(await gpusOf("h100", "load")).toMatchObject([{ utilization: 1, power_watts: 631.95, vram_free_gb: 59.827 }]);
});

test("a captured H200 cut by MIG lists its five devices with their memory", async ({ skip: leaveOut }) => {
  if (skip !== undefined) leaveOut(skip);
  const [gpu] = await gpusOf("h200-mig", "load");
  expect(gpu).toMatchObject({ mig_mode: true, utilization: null, vram_total_gb: 140.401 });
  expect(gpu?.mig_instances.map(({ profile, vram_total_gb }) => `${profile} ${vram_total_gb}`)).toEqual([
    "1c.3g.71gb 69.75",
    "2c.3g.71gb 69.75",
    "2g.35gb 32.5",
    "1g.18gb 16",
    "1g.18gb 16",
  ]);
});

test("a captured Windows machine is read like the others", async ({ skip: leaveOut }) => {
  if (skip !== undefined) leaveOut(skip);
  expect(await gpusOf("windows", "idle")).toMatchObject([
    { name: "NVIDIA GeForce RTX 2080 SUPER", vram_total_gb: 8, vram_free_gb: 7.115, driver_version: "591.86" },
  ]);
});
