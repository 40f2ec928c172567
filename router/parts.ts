import type { Bus } from "../service/bus.ts";
import type { EventPublisher } from "../service/events.ts";
import type { Log } from "../service/log.ts";
import type { Rejections } from "../service/rejections.ts";
import type { FleetView } from "./fleet-view.ts";
import type { RouterMetrics } from "./metrics.ts";
import type { Policy } from "./policy/types.ts";
import type { Wakes } from "./wake/wakes.ts";

/** What a router is made of; wired in main.ts, replaced in tests. */
export interface RouterParts {
  /** Unique among the live routers of a cell, a subject token. */
  id: string;
  bus: Bus;
  fleet: FleetView;
  events: EventPublisher;
  rejections: Rejections;
  metrics: RouterMetrics;
  log: Log;
  policy: () => Policy;
  random: () => number;
  /** Machines that sleep and could take a job; left out, none is ever woken. */
  wakes?: Pick<Wakes, "help">;
}
