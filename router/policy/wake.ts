import type { NodeRecord } from "../../bus-schemas/index.ts";
import { contextFor } from "./context.ts";
import { deadline } from "./filters/deadline.ts";
import { Fleet } from "./fleet.ts";
import { rejection } from "./reject.ts";
import type { Policy, RouteRequest } from "./types.ts";

/** A seal key that a machine makes anew when it wakes lasts until long after any job. */
const FRESH_UNTIL_MS = 9_999_999_999_999;

/**
 * A machine that sleeps, as it would be awake: idle, cool, with new keys where it had any; its layer, models, runtimes and
 * memory are what its last word says. A fleet of one, so that it is judged by just the filters that judge every node.
 */
export function asIfAwake(record: NodeRecord): Fleet {
  const fleet = new Fleet();
  const { load } = record;
  const view = fleet.upsert(
    {
      ...record,
      status: "healthy",
      status_reason: null,
      sleep: null,
      load: load === null ? null : { ...load, running: 0, queued: 0, pending_prefill_tokens: 0 },
      runtimes: record.runtimes.map((runtime) => ({ ...runtime, healthy: true })),
      seal_keys: record.seal_keys.map((key) => ({ ...key, not_after_unix_ms: FRESH_UNTIL_MS })),
    },
    0,
  );
  view.heldCelsius = { cpu: null, gpus: [] };
  // It was not heard for as long as it sleeps.
  view.excused = true;
  return fleet;
}

/** Whether a machine that sleeps would take a job once it is awake. `late`: it would, but for the job's deadline. */
export type Help = "in_time" | "late" | "no";

/**
 * Asks every filter as for any node (DESIGN promise 1), at the moment when it would be ready.
 * @param awake of `asIfAwake`
 * @param cell what is not of this machine: routers, qualities
 * @param readyAtMs on the clock of the request's deadline
 */
export function helpOf(awake: Fleet, request: RouteRequest, cell: Fleet, policy: Policy, readyAtMs: number): Help {
  const context = { ...contextFor(request, cell, policy, readyAtMs), liveRouters: 1 };
  let help: Help = "no";
  for (const option of awake.options()) {
    // No machine is woken for an echo, whoever names it.
    if (option.diagnostic) continue;
    const removed = rejection(option, request, context)?.filter;
    if (removed === undefined) return "in_time";
    if (removed === deadline) help = "late";
  }
  return help;
}
