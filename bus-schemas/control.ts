import { z } from "zod";
import { WireError } from "./errors.ts";
import { UPGRADE_ORDER, UpgradeState, UpgradeWait } from "./release.ts";
import { Bytes, Label, LabelKey, LabelValue, ModelName, NodeId, SubjectToken } from "./units.ts";

/** What can be done with a model where its runtime lets others do it. */
export const MODEL_ACTIONS = ["load", "unload", "pull"] as const;
export type ModelAction = (typeof MODEL_ACTIONS)[number];

/** Commands about models → what they do. */
export const MODEL_COMMANDS = {
  "load-model": "load",
  "unload-model": "unload",
  pull: "pull",
} as const satisfies Record<string, ModelAction>;
export type ModelCommand = keyof typeof MODEL_COMMANDS;

/** Who gives a command, as that person's program says: the broker vouches for an operator's key, not for a name. */
const By = { by: Label.optional() };

/** Commands of an operator to one node. */
export const ControlRequest = z.discriminatedUnion("command", [
  z.object({ command: z.enum(["cordon", "drain", "suspend"]), reason: Label.optional(), ...By }),
  z.object({ command: z.literal("resume"), ...By }),
  z.object({ command: z.literal("restart-runtime"), runtime: SubjectToken, reason: Label.optional(), ...By }),
  z.object({
    command: z.literal("gpu-well"),
    /** Its index, UUID or PCI address; left out = all that are sick. */
    gpu: z.string().min(1).max(100).optional(),
    reason: Label.optional(),
    ...By,
  }),
  z.object({
    command: z.literal("describe"),
    /** What people call it from now on; null = by its id again, left out = as before. */
    name: Label.nullable().optional(),
    /** What to set, and by null to take away; others stay. */
    labels: z.record(LabelKey, LabelValue.nullable()).optional(),
    ...By,
  }),
  z.object({
    ...By,
    command: z.enum(Object.keys(MODEL_COMMANDS) as [ModelCommand, ...ModelCommand[]]),
    model: ModelName,
    /** Where several of the node's runtimes could do it. */
    runtime: SubjectToken.optional(),
  }),
  z.object({ command: z.literal("upgrade"), ...UPGRADE_ORDER, ...By }),
  z.object({ command: z.literal("rollback"), id: SubjectToken, wait_seconds: UpgradeWait.default(60), ...By }),
  z.object({ command: z.literal("upgrade-status") }),
]);
export type ControlRequest = z.infer<typeof ControlRequest>;

/** How far a model's loading, unloading or download is, or a release's download. */
export const ModelProgress = z.object({
  phase: z.enum(["starting", "downloading", "verifying", "loading", "unloading"]),
  /** Of the download, or of that part of it which is on its way now; null = not told. */
  done_bytes: Bytes.nullable().default(null),
  total_bytes: Bytes.nullable().default(null),
});
export type ModelProgress = z.infer<typeof ModelProgress>;

/** What becomes of a command; of one that takes its time several, at least one a second, of which the last has `done`. */
export const ControlReply = z.object({
  ok: z.boolean(),
  node_id: NodeId,
  status: Label.nullable().default(null),
  error: WireError.nullable().default(null),
  /** False while the command is still being carried out. */
  done: z.boolean().default(true),
  progress: ModelProgress.nullable().default(null),
  /** Of the commands about upgrades. */
  upgrade: UpgradeState.nullable().default(null),
});
export type ControlReply = z.infer<typeof ControlReply>;
