import { hash } from "node:crypto";
import type { Msg } from "@nats-io/nats-core";

export type Ear = "first" | "second";

/**
 * How long one connection may hear a message after the other, milliseconds. Longer would take a later message of the very
 * same bytes for the one before it.
 */
const MATCH_MS = 5000;

interface Lead {
  ear: Ear;
  /** How often `ear` has heard the message more than the other one has. */
  times: number;
  at: number;
}

/**
 * Two connections hear the same subjects, each at its own pace: which message is heard for the first time?
 * It keeps only by how much one is ahead of the other, so what both have heard takes no memory.
 */
export class FirstHearing {
  readonly #leads = new Map<string, Lead>();
  readonly #now: () => number;

  /** @param now monotonic clock, milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /**
   * `ear` has heard a message; false when the other one had heard it before.
   * @param listener tells apart two subscriptions that hear the same message
   */
  isFirst(ear: Ear, listener: number, msg: Pick<Msg, "data" | "headers" | "reply" | "subject">): boolean {
    const now = this.#now();
    this.#forget(now);
    const key = keyOf(listener, msg);
    const lead = this.#leads.get(key);
    if (lead !== undefined && lead.ear !== ear) {
      if (--lead.times === 0) this.#leads.delete(key);
      return false;
    }
    // At the end of the map, which is in order of time.
    this.#leads.delete(key);
    this.#leads.set(key, { ear, times: (lead?.times ?? 0) + 1, at: now });
    return true;
  }

  #forget(now: number): void {
    for (const [key, { at }] of this.#leads) {
      if (now - at <= MATCH_MS) return;
      this.#leads.delete(key);
    }
  }
}

function keyOf(listener: number, { data, headers, reply, subject }: Parameters<FirstHearing["isFirst"]>[2]): string {
  const outside = JSON.stringify([listener, subject, reply, ...(headers ?? [])]);
  return hash("sha256", Buffer.concat([Buffer.from(outside), data]));
}
