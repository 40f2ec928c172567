import { z } from "zod";
import { Count, Label, NodeId, SubjectToken } from "./units.ts";

/** A GPU as events name it. */
export const GpuName = z.object({
  name: Label,
  /** The driver's number of it, which may change at a restart. */
  index: Count.nullable(),
  uuid: z.string().max(100).nullable(),
  pci_address: z.string().max(40).nullable(),
});
export type GpuName = z.infer<typeof GpuName>;

/** What an agent does by itself about what is ill on its machine; a part of `EVENTS`. */
export const HEALING_EVENTS = {
  runtime_restarted: {
    by: ["agent"],
    ofJob: false,
    summary: "An agent restarted a runtime that it manages: it had ended or did not answer, or an operator said so.",
    data: z.object({
      node_id: NodeId,
      /** By its name in agent.yaml, or `embedded`. */
      runtime: SubjectToken,
      cause: z.enum(["exit", "silence", "operator"]),
      /** Counted from 1 since it last ran well. */
      attempt: Count,
      /** How it ended, or what the operator said. */
      reason: Label.nullable(),
    }),
  },
  runtime_given_up: {
    by: ["agent"],
    ofJob: false,
    summary: "Restarts did not help a runtime: its agent leaves it until an operator orders one, or it answers again.",
    data: z.object({ node_id: NodeId, runtime: SubjectToken, attempts: Count, reason: Label.nullable() }),
  },
  gpu_sick: {
    by: ["agent"],
    ofJob: false,
    summary: "A GPU had an error that it does not get over, is gone, or its driver is silent: it is not used any more.",
    data: z.object({
      node_id: NodeId,
      gpu: GpuName,
      cause: z.enum(["xid", "gone", "silent"]),
      reason: Label,
      /** NVIDIA's number of the error. */
      xid: Count.nullable(),
    }),
  },
  gpu_well: {
    by: ["agent"],
    ofJob: false,
    summary: "A sick GPU is used again: it came back and stayed quiet, or an operator said so.",
    data: z.object({
      node_id: NodeId,
      gpu: GpuName,
      by: z.enum(["operator", "returned"]),
      /** What the operator said. */
      reason: Label.nullable(),
    }),
  },
} as const;
