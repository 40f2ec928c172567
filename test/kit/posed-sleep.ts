import { createInterface } from "node:readline";
import type { SleepRecord } from "../../bus-schemas/index.ts";
import type { followSystemSleep as Follow } from "../../agent/sleep/system-sleep.ts";
import type { OwnNetwork } from "../../agent/sleep/this-network.ts";

/** In the place of what an agent reads of its system about sleep: a machine at a cable that is the loopback device. */

export const POSED_MAC = "02:00:5e:00:53:07";
const NETWORK = "127.0.0.0/8";

export const MAGIC_PORTS: readonly number[] = [Number(process.env["TEST_MAGIC_PORT"])];

export function ownNetworks(): OwnNetwork[] {
  return [{ network: NETWORK, address: "127.0.0.1" }];
}

export async function howToWake(): Promise<SleepRecord> {
  return {
    mac: POSED_MAC,
    broadcast: "127.255.255.255",
    network: NETWORK,
    address: "127.0.0.1",
    closed_because: null,
    ready_in_seconds: null,
  };
}

export function tellsBeforeSleep(): boolean {
  return true;
}

/** A line `sleep` on standard input is what logind says before a sleep. */
export const followSystemSleep: typeof Follow = async ({ onSleep }) => {
  createInterface({ input: process.stdin }).on("line", (line) => {
    if (line === "sleep") void onSleep();
  });
};
