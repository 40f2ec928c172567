import type { Bus } from "../service/bus.ts";
import { within } from "../service/within.ts";

/** A bus that does not answer for so long after a sleep has forgotten us, milliseconds. */
const REVIVE_LIMIT_MS = 2000;

/** After a sleep the other end may be long gone, which nobody would notice for seconds: pings come every five. */
export async function reviveBus(bus: Bus): Promise<void> {
  const alive = await within(
    bus.nc.flush().catch(() => undefined),
    REVIVE_LIMIT_MS,
  );
  if (!alive && !bus.nc.isClosed()) await bus.nc.reconnect().catch(() => undefined);
}

/** Calls `then` whenever the connection is there again. */
export async function onReconnect(bus: Bus, then: () => void): Promise<void> {
  for await (const { type } of bus.nc.status()) if (type === "reconnect") then();
}
