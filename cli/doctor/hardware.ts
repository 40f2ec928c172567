import { mkdirSync } from "node:fs";
import type { Hardware } from "../../bus-schemas/index.ts";
import { probeOnce, type ProbedOnce } from "../../agent/probes/once.ts";
import { cacheDir, stateDir } from "../../service/paths.ts";
import type { Check, Finding } from "./check.ts";

/** nvidia-smi on a machine with many GPUs takes seconds at its first call, milliseconds. */
const PROBE_LIMIT_MS = 15_000;

/** What this machine's agent will say of it, and which probe is broken. Unknown is no fault: many machines tell no temperature. */
export const hardware: Check = {
  name: "hardware",
  check: async (env) => {
    const directory = stateDir({ env });
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const limit = AbortSignal.timeout(PROBE_LIMIT_MS);
    return describe(await probeOnce({ stateDir: directory, cacheDir: cacheDir({ env }) }, limit));
  },
};

export function describe({ hardware: seen, problems }: Pick<ProbedOnce, "hardware" | "problems">): Finding {
  const says = summary(seen);
  if (problems.length === 0) return { level: "ok", says };
  return {
    level: "warn",
    says,
    todo: problems.map(({ probe, message }) => `${probe}: ${message}`).join("; "),
  };
}

function summary(seen: Hardware): string {
  const { cpu_model: cpu, cpu_cores: cores, memory_gb: memory, temperature_celsius: celsius, gpus } = seen;
  return [
    `${cpu ?? "CPU unknown"}${cores === null ? "" : `, ${cores} cores`}`,
    memory === null ? "memory unknown" : `${memory.toFixed(1)} GB memory`,
    celsius === null ? "temperature unknown" : `${Math.round(celsius)} °C`,
    gpus.length === 0
      ? "no GPU found"
      : gpus
          .map((gpu) => `${gpu.name}${gpu.vram_total_gb === null ? "" : ` ${gpu.vram_total_gb.toFixed(0)} GB`}`)
          .join(", "),
  ].join(" · ");
}
