import type { RuntimeJob } from "../../agent/runtimes/runtime.ts";

/** A job as a runtime gets it: general, without a message. */
export function runtimeJob(overrides: Partial<RuntimeJob> = {}): RuntimeJob {
  return {
    jobId: "job-00000001",
    model: "m",
    messages: [],
    parameters: {},
    continues: false,
    declared: { subject: "P2", header: "P2", body: "P2" },
    commitmentSalt: Buffer.alloc(32, 7).toString("base64url"),
    ...overrides,
  };
}
