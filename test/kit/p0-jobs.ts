import { decided, ended, hop } from "./recorded-jobs.ts";
import type { RecordedLog } from "./recorded-log.ts";

/** Jobs of all classes, of which none that is P0 went to a cloud. */
export async function recordHonestJobs(log: RecordedLog): Promise<void> {
  await log.record("job_decided", decided("job-p0-aaaa", "gpu-1", "L1"), { dataClass: "P0" });
  await log.record("job_redispatched", hop("job-p0-aaaa", "gpu-1", "gpu-2"), { dataClass: "P0" });
  await log.record("job_ended", ended("job-p0-aaaa", "gpu-2", "L1"), { dataClass: "P0", source: "agent/gpu-2" });
  await log.record("job_decided", decided("job-p0-none", null, null), { dataClass: "P0" });
  await log.record("job_ended", ended("job-p0-none", null, null, "refused"), { dataClass: "P0" });
  await log.record("job_decided", decided("job-p2-aaaa", "cloud-1", "L2"));
  await log.record("job_ended", ended("job-p2-aaaa", "cloud-1", "L2"), { source: "agent/cloud-1" });
  await log.record("node_left", { node_id: "cloud-1", layer: "L2", reason: null });
}

/** What each of the rules is against, one job each. */
export const CHEATS: Readonly<Record<string, (log: RecordedLog) => Promise<unknown>>> = {
  p0_to_cloud: (log) => log.record("job_decided", decided("job-cheat-1", "cloud-1", "L2"), { dataClass: "P0" }),
  p0_job_in_cloud: async (log) => {
    await log.record("job_decided", decided("job-cheat-2", "gpu-1", "L1"), { dataClass: "P0" });
    await log.record("job_ended", ended("job-cheat-2", "cloud-1", "L2"), { dataClass: "P2", source: "agent/cloud-1" });
  },
  undecided_in_cloud: (log) =>
    log.record("job_ended", ended("job-cheat-3", "cloud-1", "L2"), { source: "agent/cloud-1" }),
  unreadable: (log) =>
    log.record("job_decided", { ...decided("job-cheat-4", "gpu-1", "L1"), padding: "x".repeat(70_000) } as never, {
      dataClass: "P0",
    }),
};
