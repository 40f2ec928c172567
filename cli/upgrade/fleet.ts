import type { ControlReply, ControlRequest, ModelProgress, Release } from "../../bus-schemas/index.ts";
import type { SeenNode } from "../../client/index.ts";
import type { JobCounts } from "./health-gate.ts";

/** What an upgrade sees of the fleet and does to it; tests have one of their own. */
export interface Fleet {
  nodes(): SeenNode[];
  /** @throws MeshError `not_found` when nobody of that name listens, `node_lost` when it falls silent */
  order(node: string, request: ControlRequest, onProgress?: (progress: ModelProgress) => void): Promise<ControlReply>;
  /**
   * Jobs that ended until now as callers see them, and on each node with those that went on elsewhere because it failed them; undefined where
   * this key does not hear of them.
   */
  jobs(): { all: JobCounts; on: ReadonlyMap<string, JobCounts> } | undefined;
  pause(ms: number): Promise<void>;
  /** Monotonic. */
  nowMs(): number;
}

export interface ConductOptions {
  release: Release;
  /** Of this run; orders are told apart by it. */
  id: string;
  /** The new program may take so long until it is on the bus, seconds. */
  waitSeconds: number;
  /** What a node runs gets so long to end, then it moves on. */
  drainMs: number;
  /** Runtimes and GPUs get so long to be as before. */
  settleMs: number;
  /** After each batch the fleet is watched for so long. */
  soakMs: number;
  /** So many nodes may fail, each back on its former program by itself, before it ends. The canary may not. */
  maxFailures: number;
  rollBack: boolean;
}

/** What is going on, for people and programs. */
export type Step =
  | { step: "batch"; number: number; of: number; nodes: string[]; canary: boolean }
  | { step: "node"; node: string; is: NodeStep; percent?: number; why?: string }
  | { step: "soak"; seconds: number }
  /** How many jobs ended on the batch's nodes meanwhile; none says nothing for them. */
  | { step: "soaked"; nodes: string[]; jobs: number };

/** Where one node is. */
export type NodeStep =
  | "downloading"
  | "downloaded"
  | "draining"
  | "switching"
  | "settling"
  | "upgraded"
  | "rolled_back"
  | "rolling_back"
  | "failed";

export type Tell = (step: Step) => void;
