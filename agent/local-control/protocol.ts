import { z } from "zod";
import { Count, IsoTime, Label, Layer, NodeId, Seconds, WireError } from "../../bus-schemas/index.ts";

/** Minutes of a pause, at most: 30 days. */
export const MAX_PAUSE_MINUTES = 43_200;

/** What whoever sits at a machine may ask of its agent: to take less, to take back what they asked, and what it does. One line of JSON. */
export const LocalRequest = z.discriminatedUnion("command", [
  z.strictObject({ command: z.literal("status") }),
  /** Ends what runs; without minutes until resumed. */
  z.strictObject({ command: z.literal("pause"), minutes: z.number().min(0.01).max(MAX_PAUSE_MINUTES).optional() }),
  /** Lets what runs end, then pauses. */
  z.strictObject({ command: z.literal("finish") }),
  z.strictObject({ command: z.literal("resume") }),
  /** From the helper in a person's session: somebody touched the machine so long ago. */
  z.strictObject({ command: z.literal("presence"), idle_seconds: Seconds }),
]);
export type LocalRequest = z.infer<typeof LocalRequest>;

/** What the agent tells whoever sits at its machine. */
export const LocalStatus = z.object({
  node_id: NodeId,
  layer: Layer,
  profile: Label,
  /** As in the heartbeat. */
  status: Label,
  status_reason: Label.nullable(),
  /** Since when its manners let it work, or do not. */
  since: IsoTime,
  /** Everything that stops it now, in the words of docs/agent.md. */
  closed_by: z.array(Label),
  /** What the owner said, and until when; null = nothing. */
  owner: z.object({ word: z.enum(["pause", "finish"]), until: IsoTime.nullable() }).nullable(),
  /** The exclusive app that runs. The mesh is not told its name. */
  exclusive_app: z.string().nullable(),
  user_idle_seconds: Seconds.nullable(),
  running: Count,
  queued: Count,
  /** Slots that may be used now, and that its runtimes have. */
  allowed_slots: Count,
  slots: Count,
  /** The limits in force. */
  limits: z.record(z.string(), z.unknown()),
  /** Files that they come from. */
  files: z.array(z.string()),
  warnings: z.array(z.string()),
  /** Of the program; null from an agent before 0.2, which tells none of these three. */
  version: Label.nullable().default(null),
  pid: Count.nullable().default(null),
  /** False from the loss of the bus until it is back. */
  bus_connected: z.boolean().nullable().default(null),
});
export type LocalStatus = z.infer<typeof LocalStatus>;

export const LocalReply = z.union([
  z.object({ ok: z.literal(true), agent: LocalStatus }),
  z.object({ ok: z.literal(false), error: WireError }),
]);
export type LocalReply = z.infer<typeof LocalReply>;
