import { expect, test } from "vitest";
import { SleepRecord } from "../../bus-schemas/index.ts";
import { CANNOT_BE_WOKEN, howToWake } from "./how-to-wake.ts";

const WIRED: Record<string, string> = {
  "/sys/class/net/enp3s0/device/power/wakeup": "enabled\n",
  "/sys/class/net/enp3s0/operstate": "up\n",
  "/sys/class/net/enp3s0/address": "AC:DE:48:00:11:22\n",
  "/sys/class/net/wlp2s0/device/power/wakeup": "disabled\n",
  "/sys/class/net/wlp2s0/operstate": "up\n",
  "/sys/class/net/wlp2s0/address": "ac:de:48:00:11:23\n",
};

const ask = (files: Record<string, string>, cidr: string | null = "192.168.7.20/24") =>
  howToWake({
    devices: async () => ["lo", "wlp2s0", "enp3s0"],
    read: async (path) => files[path] ?? null,
    addresses: () => ({
      enp3s0: [
        { address: "fe80::1", family: "IPv6", internal: false } as never,
        { address: "192.168.7.20", netmask: "", family: "IPv4", internal: false, mac: "", cidr },
      ],
    }),
  });

test("the card that may wake the machine is named, with the address at which its network hears", async () => {
  const found = await ask(WIRED);
  expect(found).toEqual({
    mac: "ac:de:48:00:11:22",
    broadcast: "192.168.7.255",
    network: "192.168.7.0/24",
    address: "192.168.7.20",
    closed_because: null,
    ready_in_seconds: null,
  });
  expect(SleepRecord.parse(found)).toEqual(found);
});

test.each([
  ["Wake-on-LAN is off", { "/sys/class/net/enp3s0/device/power/wakeup": "disabled\n" }],
  ["the card has no link", { "/sys/class/net/enp3s0/operstate": "down\n" }],
  ["the card's address is none", { "/sys/class/net/enp3s0/address": "00:00:00:00:fe:80:00:00\n" }],
])("nobody can wake it: %s", async (_why, files) => {
  expect(await ask({ ...WIRED, ...files })).toEqual(CANNOT_BE_WOKEN);
});

test("without /sys nothing is known, and nothing is claimed", async () => {
  expect(await ask({})).toEqual(CANNOT_BE_WOKEN);
});

test("an address whose mask is none names no network", async () => {
  expect(await ask(WIRED, null)).toEqual(CANNOT_BE_WOKEN);
});
