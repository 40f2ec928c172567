import { z } from "zod";
import { WireError } from "./errors.ts";
import { Ipv4, MacAddress, Network } from "./network-address.ts";
import { NodeRecord } from "./node-record.ts";
import { Count, JobId, Label, NodeId, Seconds, SubjectToken, UnixMs } from "./units.ts";

/** Wake-on-LAN (ADR 0024): machines that sleep, who woke them, and how long that took. */

/** What became of a wake. `not_ready`: the machine came up and takes no jobs. `not_asked`: no neighbour could send the packet. */
export const WAKE_OUTCOMES = ["ready", "not_ready", "not_up", "not_asked"] as const;

/** A machine that is being woken. */
export const WakeUnderWay = z.object({
  id: SubjectToken,
  asked_by: Label,
  /** The first job that it is woken for. */
  job_id: JobId.nullable(),
  /** Who sends the magic packet. */
  neighbour: NodeId,
  asked_unix_ms: UnixMs,
  /** Not up by then, it has not come up. */
  until_unix_ms: UnixMs,
});
export type WakeUnderWay = z.infer<typeof WakeUnderWay>;

/** A node of the bucket `tiermesh-sleep-<cell>`: what routers know of its sleep, for a router that starts, and for people. */
export const SleepEntry = z.object({
  node_id: NodeId,
  /** Its last word before it fell asleep; null while it is awake. */
  asleep: NodeRecord.nullable(),
  since_unix_ms: UnixMs,
  /** From the wake order to taking jobs, a moving average; null = never seen. */
  ready_in_seconds: Seconds.nullable(),
  wake: WakeUnderWay.nullable(),
  /** How the last wake ended. */
  last: z
    .object({ id: SubjectToken, outcome: z.enum(WAKE_OUTCOMES), after_seconds: Seconds, reason: Label.nullable() })
    .nullable(),
  /** Wakes in a row by which it did not become ready. */
  failures: Count,
  /** Jobs wake it no more before then; null = they may. */
  not_before_unix_ms: UnixMs.nullable(),
});
export type SleepEntry = z.infer<typeof SleepEntry>;

/** Body of `node.magic.<neighbour>`: it sends a magic packet into a network that it is in. */
export const MagicOrder = z.object({
  /** Of the wake: the same one again is not carried out twice. */
  wake_id: SubjectToken,
  node_id: NodeId,
  mac: MacAddress,
  network: Network,
  address: Ipv4.nullable(),
});
export type MagicOrder = z.infer<typeof MagicOrder>;

export const MagicReply = z.object({
  ok: z.boolean(),
  node_id: NodeId,
  /** Datagrams that were sent; 0 when they were sent before for the same wake. */
  packets: Count.default(0),
  error: WireError.nullable().default(null),
});
export type MagicReply = z.infer<typeof MagicReply>;

/** Body of `node.wake`: an operator wants a machine, whatever the policy says. */
export const WakeRequest = z.object({ node_id: NodeId, by: Label });

/** One a second until `done`. */
export const WakeReply = z.object({
  ok: z.boolean(),
  node_id: NodeId,
  done: z.boolean(),
  neighbour: NodeId.nullable().default(null),
  /** Since the wake order. */
  waited_seconds: Seconds.default(0),
  /** As learned from earlier wakes. */
  ready_in_seconds: Seconds.nullable().default(null),
  /** null while it is under way; `awake`: there was nothing to do. */
  outcome: z
    .enum([...WAKE_OUTCOMES, "awake"])
    .nullable()
    .default(null),
  error: WireError.nullable().default(null),
});
export type WakeReply = z.infer<typeof WakeReply>;
