import type { Bus } from "../service/bus.ts";
import type { GpuHealth } from "./gpu-health/gpu-health.ts";
import { shown } from "./gpu-health/gpu-names.ts";
import type { Intake } from "./intake.ts";
import type { startProbes } from "./probes/start.ts";
import type { Stance } from "./stance.ts";
import type { WorkThread } from "./work/work-thread.ts";

export interface HealthParts {
  bus: Pick<Bus, "connected">;
  work: Pick<WorkThread, "problem" | "runtimeProblems">;
  nodeId: string;
  stance: Pick<Stance, "status">;
  intake: Pick<Intake, "jobs">;
  gpus: Pick<GpuHealth, "sick">;
  probes: Pick<ReturnType<typeof startProbes>, "problems">;
}

/** What `/health` of the agent says. */
export function healthOf({ bus, work, nodeId, stance, intake, gpus, probes }: HealthParts) {
  return () => ({
    ok: bus.connected() && work.problem === undefined,
    node_id: nodeId,
    ...stance.status,
    jobs: intake.jobs.size,
    sick_gpus: gpus.sick.map(({ gpu, reason }) => `${shown(gpu)}: ${reason}`),
    problems: [...probes.problems(), ...work.runtimeProblems],
  });
}
