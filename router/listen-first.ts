import { pause } from "../service/loop.ts";
import type { Caps } from "./caps/caps.ts";

/** Every node speaks once in this time: a cold router listens before it takes jobs (DESIGN promise 5), milliseconds. */
const LISTEN_FIRST_MS = 1100;
/** The others know by then which routers are gone (caps/peers.ts), milliseconds. */
const OTHERS_LIMIT_MS = 7000;
const LOOK_EVERY_MS = 50;

/**
 * Waits until this router knows what it needs to take jobs: the nodes, and the routers with which it shares the queues' caps.
 * One that comes back after a crash has no share while the others still count its former self (ADR 0018): what it took, it
 * would have to send away, while they have places.
 */
export async function listenFirst(caps: Pick<Caps, "complete">, signal?: AbortSignal): Promise<void> {
  const untilMs = performance.now() + OTHERS_LIMIT_MS;
  await pause(LISTEN_FIRST_MS, signal);
  while (!caps.complete && performance.now() < untilMs && signal?.aborted !== true) await pause(LOOK_EVERY_MS, signal);
}
