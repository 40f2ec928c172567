import { expect, test } from "vitest";
import { createBatteryProbe } from "./battery.ts";
import { files, replayHost, UNHURRIED } from "./fixtures/replay-host.ts";

const supplies = (all: Record<string, Record<string, string>>) =>
  files(
    Object.fromEntries(
      Object.entries(all).flatMap(([name, values]) =>
        Object.entries(values).map(([file, value]) => [`/sys/class/power_supply/${name}/${file}`, `${value}\n`]),
      ),
    ),
  );
const onLinux = async (all: Record<string, Record<string, string>>) =>
  (await createBatteryProbe().probe(replayHost(undefined, supplies(all)), UNHURRIED)).values;

const CHARGING = { type: "Battery", status: "Charging", charge_full: "4000", charge_now: "1000" };

test.each([
  ["a desktop", {}, null, null],
  ["a desktop that knows its mains", { AC: { type: "Mains", online: "1" } }, null, false],
  ["a laptop that charges", { BAT0: CHARGING, AC: { type: "Mains", online: "1" } }, 0.25, false],
  [
    "two batteries, by what they hold",
    { BAT0: CHARGING, BAT1: { ...CHARGING, status: "Discharging", charge_full: "12000", charge_now: "9000" } },
    0.625,
    true,
  ],
  ["a battery that tells percent only", { BAT0: { type: "Battery", status: "Full", capacity: "100" } }, 1, null],
  ["a battery that tells nonsense", { BAT0: { type: "Battery", status: "Full", capacity: "900" } }, null, null],
  [
    "a supply too weak for the load",
    { BAT0: { ...CHARGING, status: "Discharging" }, ucsi: { type: "USB", online: "1" } },
    0.25,
    false,
  ],
])("%s", async (_title, all, level, onBattery) => {
  expect(await onLinux(all)).toEqual({ battery_level: level, on_battery: onBattery });
});

test.each([
  ["Now drawing from 'AC Power'\n -InternalBattery-0 (id=1)\t100%; charged; 0:00 remaining\n", 1, false],
  ["Now drawing from 'AC Power'\n", null, false],
  ["Now drawing from 'UPS Power'\n", null, true],
])("a Mac that says %o", async (stdout, level, onBattery) => {
  const host = replayHost(() => ({ stdout }), { platform: "darwin" });
  expect((await createBatteryProbe().probe(host, UNHURRIED)).values).toEqual({
    battery_level: level,
    on_battery: onBattery,
  });
});

test("Windows is asked at most every two minutes, for PowerShell costs half a second", async () => {
  const host = replayHost(() => ({ stdout: "[]" }), { platform: "win32", env: { SystemRoot: "D:\\Win" } });
  const probe = createBatteryProbe();
  expect((await probe.probe(host, UNHURRIED)).values).toEqual({ battery_level: null, on_battery: null });
  host.atMs += 60_000;
  await probe.probe(host, UNHURRIED);
  expect(host.asked).toHaveLength(1);
  expect(host.asked[0]).toMatch(/^D:\\Win\\System32\\WindowsPowerShell\\v1\.0\\powershell\.exe -NoProfile/);
  host.atMs += 60_000;
  await probe.probe(host, UNHURRIED);
  expect(host.asked).toHaveLength(2);
});
