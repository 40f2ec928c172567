import type { Scorer } from "../types.ts";
import { capability } from "./capability.ts";
import { cost } from "./cost.ts";
import { latency } from "./latency.ts";
import { security } from "./security.ts";

/** The four terms of SEED's 评分公式; the weights are the policy's. */
export const SCORERS: readonly Scorer[] = [security, capability, latency, cost];
