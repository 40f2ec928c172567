import { readFile, readdir } from "node:fs/promises";
import { networkInterfaces } from "node:os";
import { broadcastOf, networkOf, type SleepRecord } from "../../bus-schemas/index.ts";

/** Of the system what is asked here; another one only in tests. */
export interface NetworkFacts {
  /** Names in /sys/class/net; [] elsewhere. */
  devices: () => Promise<string[]>;
  /** A small file, or null. */
  read: (path: string) => Promise<string | null>;
  addresses: typeof networkInterfaces;
}

const SYSTEM: NetworkFacts = {
  devices: () => readdir("/sys/class/net").catch(() => []),
  read: (path) => readFile(path, "utf8").catch(() => null),
  addresses: networkInterfaces,
};

/** Nobody knows how to wake it. */
export const CANNOT_BE_WOKEN: SleepRecord = {
  mac: null,
  broadcast: null,
  network: null,
  address: null,
  closed_because: null,
  ready_in_seconds: null,
};

/**
 * The card by which a magic packet would wake this machine: one with a link and an address whose device may wake the system
 * (`power/wakeup` of sysfs, which Wake-on-LAN sets and which can be read without root). Linux; elsewhere nobody can tell: unknown.
 */
export async function howToWake({ devices, read, addresses }: NetworkFacts = SYSTEM): Promise<SleepRecord> {
  for (const name of await devices()) {
    const folder = `/sys/class/net/${name}`;
    if ((await read(`${folder}/device/power/wakeup`))?.trim() !== "enabled") continue;
    if ((await read(`${folder}/operstate`))?.trim() !== "up") continue;
    const own = addresses()[name]?.find(({ family, internal }) => family === "IPv4" && !internal);
    const mac = (await read(`${folder}/address`))?.trim().toLowerCase() ?? "";
    if (own === undefined || own.cidr === null || !/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac)) continue;
    const network = networkOf(own.address, Number(own.cidr.split("/")[1]));
    return { ...CANNOT_BE_WOKEN, mac, broadcast: broadcastOf(network), network, address: own.address };
  }
  return CANNOT_BE_WOKEN;
}
