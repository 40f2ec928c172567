import type { ChildProcess } from "node:child_process";
import { EventEmitter } from "node:events";
import { createInterface } from "node:readline";
import { Hardware } from "../../bus-schemas/index.ts";
import type { GpuFault } from "../../agent/probes/gpu-fault.ts";
import type { FromProbes } from "../../agent/probes/protocol.ts";

/** A machine at rest whose person is away. */
let hardware = Hardware.parse({
  platform: process.platform,
  arch: process.arch,
  cpu_cores: 8,
  cpu_utilization: 0.01,
  memory_gb: 32,
  memory_free_gb: 24,
  temperature_celsius: 45,
  on_battery: false,
  metered: false,
  user_idle_seconds: 4000,
});

let faults: GpuFault[] = [];

/**
 * In the place of agent/probes/launch.ts: each line of standard input, such as `{"user_idle_seconds":0}`, is what is seen from then on;
 * `{"faults":[…]}` what the GPUs' driver told.
 */
export function launchProbes(): ChildProcess {
  const child = Object.assign(new EventEmitter(), {
    pid: 1,
    connected: true,
    exitCode: null,
    signalCode: null,
    send: () => {
      child.emit("exit", 0, null);
      return true;
    },
    disconnect: () => undefined,
    unref: () => undefined,
  });
  const tell = () => {
    const message: FromProbes = { type: "hardware", hardware, problems: [], faults, complete: true };
    child.emit("message", message);
  };
  createInterface({ input: process.stdin }).on("line", (line) => {
    const { faults: told, ...seen } = JSON.parse(line) as { faults?: GpuFault[] };
    faults = told ?? faults;
    hardware = Hardware.parse({ ...hardware, ...seen });
    tell();
  });
  // A process takes a moment to come up, and speaks every few seconds.
  setImmediate(tell);
  setInterval(tell, 1000).unref();
  return child as unknown as ChildProcess;
}

export function endGroup(): void {
  // There is no process.
}
