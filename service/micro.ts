import type { Msg, Subscription } from "@nats-io/nats-core";
import type { Bus } from "./bus.ts";
import { newId } from "./ids.ts";
import { VERSION } from "./version.ts";

/** A subject that this process serves by a subscription of its own. */
export interface MicroEndpoint {
  name: string;
  subject: string;
  /** Queue group of its subscribers. */
  queue?: string;
  /** What `nats micro stats` shows; zeros without it. */
  stats?: () => { requests: number; errors: number };
}

export interface Announcement {
  /** Stops answering discovery. */
  stop(): Promise<void>;
}

const RESPONSE_TYPE = "io.nats.micro.v1.";

/**
 * Makes this process a NATS micro service (NATS ADR-32), so that `nats micro ls`, `info`, `stats` and `ping` find it.
 * It answers discovery only; the endpoints are served by the process's own subscriptions, which the micro library
 * cannot describe: it would subscribe a second time.
 */
export async function announceService(
  bus: Bus,
  process: string,
  description: string,
  endpoints: readonly MicroEndpoint[],
  metadata: Record<string, string> = {},
): Promise<Announcement> {
  const identity = { name: `tiermesh-${process}`, id: newId(), version: VERSION, metadata };
  const started = new Date().toISOString();
  const describe = ({ name, subject, queue }: MicroEndpoint) => ({
    name,
    subject,
    queue_group: queue ?? "",
    metadata: {},
  });
  const answers: Record<string, () => object> = {
    PING: () => identity,
    INFO: () => ({ ...identity, description, endpoints: endpoints.map(describe) }),
    STATS: () => ({
      ...identity,
      started,
      endpoints: endpoints.map((endpoint) => {
        const { requests, errors } = endpoint.stats?.() ?? { requests: 0, errors: 0 };
        // Times are left at zero: what a job takes is in our own metrics, by histogram.
        const times = { processing_time: 0, average_processing_time: 0, last_error: "" };
        return { ...describe(endpoint), num_requests: requests, num_errors: errors, ...times };
      }),
    }),
  };
  const subscriptions: Subscription[] = [];
  for (const [verb, answer] of Object.entries(answers)) {
    const type = `${RESPONSE_TYPE}${verb.toLowerCase()}_response`;
    const handler = (msg: Msg) => void msg.respond(JSON.stringify({ type, ...answer() }));
    for (const whom of ["", `.${identity.name}`, `.${identity.name}.${identity.id}`]) {
      subscriptions.push(bus.listen(`$SRV.${verb}${whom}`, handler));
    }
  }
  await bus.nc.flush();
  return {
    stop: async () => {
      for (const subscription of subscriptions) subscription.unsubscribe();
    },
  };
}
