import type { Msg, Subscription } from "@nats-io/nats-core";
import type { z } from "zod";
import {
  MeshError,
  ROUTER_QUEUE_GROUP,
  WakeReply,
  WakeRequest,
  isInbox,
  type SleepEntry,
} from "../../bus-schemas/index.ts";
import type { Bus } from "../../service/bus.ts";
import { pause } from "../../service/loop.ts";
import { readBody, respond } from "../../service/messages.ts";
import type { Rejections } from "../../service/rejections.ts";
import type { FleetView } from "../fleet-view.ts";
import type { Sleepers } from "./sleepers.ts";
import type { Wakes } from "./wakes.ts";

/** Who asked hears so often how far it is, milliseconds. */
const TELL_EVERY_MS = 1000;
/** Operators who wait for a machine, at most. */
const MAX_WAITING = 100;

export interface WakeDeskParts {
  bus: Bus;
  fleet: FleetView;
  sleepers: Pick<Sleepers, "find" | "look">;
  wakes: Pick<Wakes, "order">;
  rejections: Pick<Rejections, "add">;
}

/** Serves operators who want a machine that sleeps, whatever the policy and its back-off say. */
export class WakeDesk {
  readonly #parts: WakeDeskParts;
  #waiting = 0;
  #subscription: Subscription | undefined;

  constructor(parts: WakeDeskParts) {
    this.#parts = parts;
  }

  /** @param signal ends what still waits */
  start(signal: AbortSignal): void {
    const { bus } = this.#parts;
    this.#subscription = bus.listen(bus.subjects.wake, (msg) => void this.#serve(msg, signal), ROUTER_QUEUE_GROUP);
  }

  async stop(): Promise<void> {
    await this.#subscription?.drain();
  }

  /** Never throws. */
  async #serve(msg: Msg, signal: AbortSignal): Promise<void> {
    let nodeId = "unknown";
    this.#waiting++;
    try {
      if (!isInbox(msg.reply ?? "")) throw new MeshError("bad_request", "reply: not an inbox", { field: "reply" });
      if (this.#waiting > MAX_WAITING)
        throw new MeshError("all_busy", "too many operators wait for machines here", { retryAfterMs: 1000 });
      const request = readBody(msg, WakeRequest);
      nodeId = request.node_id;
      await this.#wake(msg, request, signal);
    } catch (cause) {
      const error = MeshError.from(cause);
      this.#parts.rejections.add("wake", error);
      tell(msg, { ok: false, node_id: nodeId, done: true, error: error.toWire() });
    } finally {
      this.#waiting--;
    }
  }

  async #wake(msg: Msg, { node_id: nodeId, by }: z.infer<typeof WakeRequest>, signal: AbortSignal): Promise<void> {
    const { fleet, sleepers, wakes } = this.#parts;
    const awake = () => tell(msg, { ok: true, node_id: nodeId, done: true, outcome: "awake" });
    if (fleet.fleet.view(nodeId)?.gone === false) return awake();
    // Who fell asleep just now, or before this router started.
    await sleepers.look();
    await wakes.order(nodeId, { by: `operator ${by}`.slice(0, 200), jobId: null });
    const wake = sleepers.find(nodeId)?.wake ?? null;
    if (wake === null) return awake();
    const { neighbour } = wake;
    for (;;) {
      const entry = sleepers.find(nodeId);
      const waited_seconds = Math.max(0, fleet.nowMs() - wake.asked_unix_ms) / 1000;
      const ready_in_seconds = entry?.ready_in_seconds ?? null;
      const told = { ok: true, node_id: nodeId, neighbour, waited_seconds, ready_in_seconds };
      if (entry?.wake?.id !== wake.id) return tell(msg, { ...told, ...ending(entry, wake.id), done: true });
      tell(msg, { ...told, done: false });
      await pause(TELL_EVERY_MS, signal);
      if (signal.aborted) throw new MeshError("draining", "the router stops; the machine goes on waking up");
    }
  }
}

/** How a wake ended, by what is written of it. */
function ending(
  entry: SleepEntry | undefined,
  id: string,
): Pick<WakeReply, "ok" | "outcome" | "error"> & Partial<Pick<WakeReply, "waited_seconds">> {
  if (entry?.last?.id !== id) return { ok: entry?.asleep === null, outcome: "awake", error: null };
  const { after_seconds: waited_seconds, outcome, reason } = entry.last;
  if (outcome === "ready") return { ok: true, outcome, error: null, waited_seconds };
  const why = reason === null ? "" : `: ${reason}`;
  const error = new MeshError("node_lost", `${WHY[outcome]}${why}`).toWire();
  return { ok: false, outcome, error, waited_seconds };
}

const WHY = {
  not_ready: "it came up and takes no jobs",
  not_up: "it did not come up; is Wake-on-LAN on in its firmware, too?",
  not_asked: "no neighbour could send the magic packet",
} as const;

function tell(msg: Msg, reply: Partial<WakeReply> & Pick<WakeReply, "ok" | "node_id" | "done">): void {
  respond(msg, WakeReply.parse(reply));
}
