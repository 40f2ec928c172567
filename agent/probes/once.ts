import type { Hardware } from "../../bus-schemas/node-record.ts";
import { CommandRunner } from "./command.ts";
import { HardwarePicture } from "./hardware.ts";
import { createHost } from "./host.ts";
import { PROBES } from "./index.ts";
import type { HardwareValues, Probe, ProbeHost, Reading } from "./probe.ts";
import type { ProbeProblem } from "./protocol.ts";
import { runProbe } from "./runner.ts";

/** One value of the hardware picture, and how this machine knows it. */
export interface KnownValue {
  field: keyof HardwareValues;
  /** null = unknown; `how` then says where it was looked for. */
  value: HardwareValues[keyof HardwareValues];
  probe: string;
  how: string;
  sampled_at: string;
}

export interface ProbedOnce {
  hardware: Hardware;
  values: KnownValue[];
  problems: ProbeProblem[];
}

export interface ProbeOnceOptions {
  stateDir: string;
  /** Another machine than this one, only in tests. */
  host?: ProbeHost;
  probes?: readonly Probe[];
}

/**
 * Runs every probe once, side by side, for `tiermesh doctor`. Never throws: what is broken is in `problems`. Parts of
 * systeminformation block the calling thread for some 10 ms, so this is for short commands, not for the agent.
 */
export async function probeOnce(options: ProbeOnceOptions, signal: AbortSignal): Promise<ProbedOnce> {
  const commands = new CommandRunner();
  const { stateDir, host = createHost({ stateDir, commands }), probes = PROBES.map((create) => create()) } = options;
  const picture = new HardwarePicture(probes, host);
  const found = await Promise.all(
    probes.map(async (probe) => {
      const outcome = await runProbe(probe, host, signal);
      if (outcome.type === "reading") {
        picture.succeeded(probe, outcome.reading);
        return knownValues(probe, outcome.reading, new Date(host.nowMs()).toISOString());
      }
      picture.failed(probe, outcome.type === "stopped" ? "was stopped before it ended" : outcome.message);
      return [];
    }),
  );
  commands.killAll();
  return { hardware: picture.current(), values: found.flat(), problems: picture.problems() };
}

function knownValues({ name }: Probe, { values, how }: Reading, sampledAt: string): KnownValue[] {
  return (Object.keys(values) as (keyof HardwareValues)[]).flatMap((field) => {
    const value = values[field];
    return value === undefined ? [] : [{ field, value, probe: name, how, sampled_at: sampledAt }];
  });
}
