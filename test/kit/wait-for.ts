import { vi } from "vitest";

/** A wait for an event, not for a time: it ends when the event is there, and gives up late, however busy the machine. */
const PATIENCE_MS = 20_000;

/** `vi.waitFor` with patience: runs `look` until it does not throw, and returns what it returned. */
export function waitFor<T>(
  look: () => T | Promise<T>,
  options: { timeout?: number; interval?: number } = {},
): Promise<T> {
  return vi.waitFor(look, { timeout: PATIENCE_MS, ...options });
}
