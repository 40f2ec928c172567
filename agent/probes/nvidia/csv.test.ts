import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Gpu } from "../../../bus-schemas/node-record.ts";
import { FULL_QUERY, known, parseGpus, unknownField, withoutField, type Query } from "./csv.ts";

const AT = "2026-01-01T00:00:00.000Z";
const MOMENT = { sampledAt: AT, arch: "x64" };
const TWO_GPUS = readFileSync(new URL("../fixtures/two-gpus.csv", import.meta.url), "utf8");

/** A row with everything in order, but for the given cells. */
function row(cells: Partial<Record<Query[number]["fact"], string>> = {}): string {
  const good = (TWO_GPUS.split("\n")[0] ?? "").split(", ");
  return FULL_QUERY.map(({ fact }, at) => cells[fact] ?? good[at]).join(", ");
}

const parseOne = (line: string) => parseGpus(line, FULL_QUERY, MOMENT).gpus[0];

test("a healthy card is read in the wire's units", () => {
  expect(parseGpus(TWO_GPUS, FULL_QUERY, MOMENT)).toMatchObject({
    unreadable: 0,
    gpus: [
      {
        index: 0,
        uuid: "GPU-5c1d0001-aaaa-bbbb-cccc-000000000001",
        vendor: "nvidia",
        name: "NVIDIA GeForce RTX 4090",
        vram_total_gb: 23.988,
        vram_free_gb: 18,
        utilization: 0.25,
        temperature_celsius: 61,
        power_watts: 212.5,
        power_limit_watts: 450,
        driver_version: "570.86.15",
        mig_mode: null,
        throttled: ["sw_power_cap"],
        pci_address: "0000:01:00.0",
        unified_memory: false,
        sampled_at: AT,
      },
      { index: 1, mig_mode: false, throttled: [], utilization: 0 },
    ],
  });
});

const UNKNOWN = [
  "N/A",
  "[N/A]",
  "Not Supported",
  "[Not Supported]",
  "[Unknown Error]",
  "Unknown Error",
  "[GPU requires reset]",
  "[Insufficient Permissions]",
  "[Requested functionality has been deprecated]",
  "[GPU is lost]",
  "ERR!",
  "[ERR!]",
  "",
  "   ",
];

test.each(UNKNOWN)("%j is unknown in every field, and never 0", (spelling) => {
  expect(known(spelling)).toBeNull();
  const cells = Object.fromEntries(FULL_QUERY.map(({ fact }) => [fact, spelling]));
  const gpu = parseOne(row({ ...cells, index: "3" }));
  expect(gpu).toEqual({
    index: 3,
    uuid: null,
    vendor: "nvidia",
    name: "NVIDIA GPU",
    vram_total_gb: null,
    vram_free_gb: null,
    utilization: null,
    temperature_celsius: null,
    power_watts: null,
    power_limit_watts: null,
    driver_version: null,
    mig_mode: null,
    mig_instances: [],
    throttled: null,
    pci_address: null,
    unified_memory: null,
    asleep: null,
    energy_joules: null,
    processes: null,
    sampled_at: AT,
    sick: null,
  });
});

test.each([
  ["memory.total", "-1", "vram_total_gb"],
  ["memory.total", "1000000000", "vram_total_gb"],
  ["memory.total", "0", "vram_total_gb"],
  ["memory.free", "-24564", "vram_free_gb"],
  ["memory.free", "24565", "vram_free_gb"],
  ["memory.free", "1e9", "vram_free_gb"],
  ["utilization.gpu", "101", "utilization"],
  ["utilization.gpu", "-3", "utilization"],
  ["temperature.gpu", "1000000000", "temperature_celsius"],
  ["temperature.gpu", "-273", "temperature_celsius"],
  ["power.draw", "-1.00", "power_watts"],
  ["power.draw", "1000000000", "power_watts"],
  ["enforced.power.limit", "NaN", "power_limit_watts"],
  ["mig.mode.current", "Perhaps", "mig_mode"],
  ["clocks_event_reasons.active", "0xZZ", "throttled"],
  ["clocks_event_reasons.active", "4", "throttled"],
] as const)("%s = %s is impossible and becomes null, the rest of the card stays", (field, value, wire) => {
  const gpu = parseOne(row({ [field]: value }));
  expect(gpu).toMatchObject({ index: 0, name: "NVIDIA GeForce RTX 4090" });
  expect(gpu?.[wire]).toBeNull();
});

test("units that an old driver writes in spite of nounits are understood", () => {
  const gpu = parseOne(row({ "memory.total": "24564 MiB", "utilization.gpu": "25 %", "power.draw": "212.50 W" }));
  expect(gpu).toMatchObject({ vram_total_gb: 23.988, utilization: 0.25, power_watts: 212.5 });
});

test("several reasons to throttle are all named; idle and an administrator's clocks are none", () => {
  expect(parseOne(row({ "clocks_event_reasons.active": "0x00000000000001FF" }))?.throttled).toEqual([
    "sw_power_cap",
    "hw_slowdown",
    "sync_boost",
    "sw_thermal_slowdown",
    "hw_thermal_slowdown",
    "hw_power_brake_slowdown",
  ]);
  expect(parseOne(row({ "clocks_event_reasons.active": "0x0000000000000103" }))?.throttled).toEqual([]);
});

test("a GPU that has the machine's memory is known by its words on Arm, and nowhere else", () => {
  const unified = (total: string, arch: string) =>
    parseGpus(row({ "memory.total": total }), FULL_QUERY, { sampledAt: AT, arch }).gpus[0]?.unified_memory;
  expect(unified("[N/A]", "arm64")).toBe(true);
  expect(unified("Not Supported", "arm64")).toBe(true);
  expect(unified("[N/A]", "x64")).toBeNull();
  expect(unified("[Unknown Error]", "arm64")).toBeNull();
  expect(unified("24564", "arm64")).toBe(false);
});

test("a comma in the name stays in the name", () => {
  expect(parseOne(row({ name: "NVIDIA Card, Special Edition" }))?.name).toBe("NVIDIA Card, Special Edition");
});

test("a row that was cut off is counted and not guessed at", () => {
  const cut = TWO_GPUS.slice(0, TWO_GPUS.indexOf("0x0000000000000001"));
  const { gpus, unreadable } = parseGpus(cut, FULL_QUERY, MOMENT);
  expect(gpus.map(({ index }) => index)).toEqual([0]);
  expect(unreadable).toBe(1);
});

test("lines that name no device are no cards", () => {
  const noise = `Warning: infoROM is corrupted\n${"x, ".repeat(20)}x\n${row()}`;
  expect(parseGpus(noise, FULL_QUERY, MOMENT)).toMatchObject({ gpus: [{ index: 0 }], unreadable: 2 });
});

test("whatever nvidia-smi writes, the result fits the wire schema", () => {
  const cell = fc.oneof(fc.string(), fc.constantFrom(...UNKNOWN), fc.double().map(String), fc.integer().map(String));
  const line = fc.oneof(
    fc.string(),
    fc.array(cell, { minLength: 10, maxLength: 15 }).map((cells) => cells.join(", ")),
  );
  fc.assert(
    fc.property(fc.array(line), (lines) => {
      for (const gpu of parseGpus(lines.join("\n"), FULL_QUERY, MOMENT).gpus) expect(Gpu.parse(gpu)).toEqual(gpu);
    }),
  );
});

test("a field that the driver refuses is asked by its older name, then left out", () => {
  const refused = unknownField('Field "clocks_event_reasons.active" is not a valid field to query.\n\n');
  expect(refused).toBe("clocks_event_reasons.active");
  const older = withoutField(FULL_QUERY, "clocks_event_reasons.active") as Query;
  expect(older.map(({ ask }) => ask)).toContain("clocks_throttle_reasons.active");
  const without = withoutField(older, "clocks_throttle_reasons.active") as Query;
  expect(without).toHaveLength(FULL_QUERY.length - 1);
  const cells = (TWO_GPUS.split("\n")[0] ?? "").split(", ").toSpliced(11, 1).join(", ");
  expect(parseGpus(cells, without, MOMENT).gpus[0]).toMatchObject({ throttled: null, name: "NVIDIA GeForce RTX 4090" });
});

test("a driver that refuses a field nobody asked for, or the name itself, cannot be talked to", () => {
  expect(withoutField(FULL_QUERY, "fan.speed")).toBeUndefined();
  expect(withoutField(withoutField(FULL_QUERY, "name") as Query, "gpu_name")).toBeUndefined();
});
