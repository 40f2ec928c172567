import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Hardware } from "../../bus-schemas/node-record.ts";
import { isSingleExecutable } from "../entries.ts";
import { HardwarePicture, unknownHardware } from "./hardware.ts";
import { endGroup, launchProbes } from "./launch.ts";
import type { Probe, ProbeHost, Reading } from "./probe.ts";
import { FoundOnce, type KnownValue, type ProbeProblem } from "./protocol.ts";
import { runProbe } from "./runner.ts";

export interface ProbedOnce {
  hardware: Hardware;
  values: KnownValue[];
  problems: ProbeProblem[];
}

export interface ProbeOnceOptions {
  stateDir: string;
  /** Where compiled code is kept. */
  cacheDir?: string;
  /** Starts the process; another one only in tests. */
  launch?: () => ChildProcess;
}

/**
 * Has every probe look once, for short commands, in a process of its own: a call that hangs in a driver would keep this one from
 * ending. Never throws: what is broken is in `problems`.
 */
export async function probeOnce(options: ProbeOnceOptions, signal: AbortSignal): Promise<ProbedOnce> {
  const { stateDir, cacheDir } = options;
  const nothing = (message: string): ProbedOnce => ({
    hardware: unknownHardware(process),
    values: [],
    problems: [{ probe: "worker", message, since: new Date().toISOString() }],
  });
  if (signal.aborted) return nothing("was stopped before it began");
  // Not in the state folder, which may be another account's: root would load what that account has put there.
  const nativeDir = isSingleExecutable ? mkdtempSync(join(tmpdir(), "tiermesh-probe-")) : undefined;
  const config = { stateDir, once: true, ...(nativeDir === undefined ? {} : { nativeDir }) };
  const { launch = () => launchProbes({ config, cacheDir, env: process.env }) } = options;
  const child = launch();
  const told = Promise.withResolvers<ProbedOnce>();
  const onAbort = () => told.resolve(nothing("the probes did not end in time"));
  signal.addEventListener("abort", onAbort, { once: true });
  child.on("message", (raw) => {
    const found = FoundOnce.safeParse(raw);
    if (found.success) told.resolve(found.data);
  });
  child.once("exit", () => told.resolve(nothing("the probes' process ended before it had looked")));
  child.on("error", () => told.resolve(nothing("the probes' process cannot be started")));
  const found = await told.promise;
  signal.removeEventListener("abort", onAbort);
  endGroup(child);
  // One that hangs in the kernel keeps nobody waiting.
  child.unref();
  if (child.connected) child.disconnect();
  if (nativeDir !== undefined) rmSync(nativeDir, { recursive: true, force: true });
  return found;
}

/** Runs every probe once, side by side, in this process. Never throws. */
export async function runAllOnce(probes: readonly Probe[], host: ProbeHost, signal: AbortSignal): Promise<ProbedOnce> {
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
  return { hardware: picture.current(), values: found.flat(), problems: picture.problems() };
}

function knownValues({ name }: Probe, { values, how }: Reading, sampledAt: string): KnownValue[] {
  return (Object.keys(values) as (keyof typeof values)[]).flatMap((field) => {
    const value = values[field];
    return value === undefined ? [] : [{ field, value, probe: name, how, sampled_at: sampledAt }];
  });
}
