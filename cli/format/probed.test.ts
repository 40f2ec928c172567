import { expect, test } from "vitest";
import { Hardware } from "../../bus-schemas/index.ts";
import { probed } from "./probed.ts";

const value = (field: string, known: unknown, probe: string, how: string) =>
  ({ field, value: known, probe, how, sampled_at: "2026-01-01T00:00:00.000Z" }) as Parameters<
    typeof probed
  >[0]["values"][number];

test("each value stands with its unit, its probe and how it is known; makers without a card share a line", () => {
  const text = probed({
    values: [
      value("memory_gb", 64, "memory", "mem()"),
      value("battery_level", 0.805, "battery", "sysfs"),
      value("on_battery", false, "battery", "sysfs"),
      value("power_watts", null, "power", "only root may"),
      value("gpus", [], "amd", "none"),
      value("gpus", [], "intel", "none"),
    ],
    problems: [{ probe: "user", message: "loginctl answered nothing", since: "2026-01-01T00:00:00.000Z" }],
  });
  expect(text.split("\n").map((line) => line.replace(/ {2,}/g, " | "))).toEqual([
    "VALUE | PROBE | HOW IT IS KNOWN",
    "memory_gb | 64 GB | memory | mem()",
    "battery_level | 81 % | battery | sysfs",
    "on_battery | no | battery | sysfs",
    "power_watts | unknown | power | only root may",
    "gpus | none | 2 probes | looked for by amd, intel",
    "",
    "! user: loginctl answered nothing",
  ]);
});

test("a GPU is one line with what is known of it", () => {
  const { gpus } = Hardware.parse({
    gpus: [
      { name: "A", index: 1, pci_address: "0000:65:00.0", vram_total_gb: 24, vram_free_gb: 20, utilization: 0.5 },
      { name: "B", asleep: true },
    ],
  });
  const text = probed({ values: [value("gpus", gpus, "amd", "sysfs")], problems: [] });
  expect(text).toContain("gpu 1  A, 0000:65:00.0, 20 of 24 GB free, 50% busy  amd");
  expect(text).toContain("gpu 1  B, asleep, memory unknown");
});
