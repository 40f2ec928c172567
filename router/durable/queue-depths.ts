import { JetStreamApiError, jetstreamManager } from "@nats-io/jetstream";
import type { QueueDepth } from "../../bus-schemas/index.ts";
import type { DurableParts } from "./parts.ts";

/** How full the queues of the policy are, as the broker counts. */
export class QueueDepths {
  readonly #parts: Pick<DurableParts, "bus" | "policy">;

  constructor(parts: Pick<DurableParts, "bus" | "policy">) {
    this.#parts = parts;
  }

  /** @param only of this queue */
  async all(only?: string): Promise<QueueDepth[]> {
    const { bus, policy } = this.#parts;
    const { consumers } = await jetstreamManager(bus.nc, { checkAPI: false });
    const names = Object.keys(policy().routing.task_queues).filter((name) => (only ?? name) === name);
    const depths = names.map(async (queue): Promise<QueueDepth> => {
      try {
        const { num_pending, num_ack_pending, config } = await consumers.info(bus.subjects.jobStreams.work, queue);
        return { queue, waiting: num_pending, in_hand: num_ack_pending, max_concurrency: config.max_ack_pending ?? 0 };
      } catch (error) {
        // No router has made it yet.
        if (!(error instanceof JetStreamApiError)) throw error;
        return { queue, waiting: 0, in_hand: 0, max_concurrency: 0 };
      }
    });
    return Promise.all(depths);
  }
}
