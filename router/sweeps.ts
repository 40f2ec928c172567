import { ACCEPT_LIMIT_MS, type Dispatcher } from "./dispatcher.ts";
import type { FleetView } from "./fleet-view.ts";
import type { Tickets } from "./tickets.ts";
import type { Wakes } from "./wake/wakes.ts";

/** Something that a router looks at, or says, again and again. */
export interface Sweep {
  name: string;
  everyMs: number;
  run: () => void;
}

/** All of a router's, in one list: whoever runs a router, for real or simulated, runs these. */
export function sweepsOf(dispatcher: Dispatcher, tickets: Tickets, fleet: FleetView, wakes?: Wakes): readonly Sweep[] {
  return [
    { name: "silent dispatches", everyMs: ACCEPT_LIMIT_MS / 5, run: () => dispatcher.sweep() },
    { name: "ticket key", everyMs: 1000, run: () => tickets.announce() },
    { name: "unused tickets", everyMs: 500, run: () => tickets.sweep() },
    { name: "lost routers", everyMs: 500, run: () => dispatcher.caps.sweep() },
    { name: "finished jobs", everyMs: 500, run: () => dispatcher.known.sweep() },
    { name: "wakes", everyMs: 500, run: () => wakes?.sweep() },
    { name: "lost nodes", everyMs: 100, run: () => fleet.sweep(fleet.nowMs()) },
  ];
}
