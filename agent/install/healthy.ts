import { MeshError } from "../../bus-schemas/index.ts";
import { pause } from "../../service/loop.ts";
import { localAgents } from "../local-control/address.ts";
import { askAgent } from "../local-control/ask.ts";
import type { LocalStatus } from "../local-control/protocol.ts";
import type { Layout } from "./layout.ts";
import type { Machine } from "./machine.ts";
import type { ServiceManager } from "./service-manager.ts";

const LOOK_EVERY_MS = 300;

/** What the installed agent says of itself; undefined when it does not listen. */
export async function askInstalled(machine: Machine, layout: Layout): Promise<LocalStatus | undefined> {
  const env = { ...machine.env, TIERMESH_RUN_DIR: layout.runDir };
  for (const path of localAgents(env, layout.stateDir, machine.platform)) {
    const status = await askAgent(path, { command: "status" }).catch(() => undefined);
    if (status !== undefined) return status;
  }
  return undefined;
}

/**
 * Waits until the service's own process says that it is this version and that it is on the bus.
 * @throws MeshError `internal` saying what is missing, when `limitMs` is over
 */
export async function waitUntilHealthy(
  { machine, layout, manager }: { machine: Machine; layout: Layout; manager: ServiceManager },
  { version, limitMs }: { version: string; limitMs: number },
): Promise<LocalStatus> {
  const endMs = performance.now() + limitMs;
  for (;;) {
    const [status, state] = await Promise.all([askInstalled(machine, layout), manager.state(layout)]);
    const why = whyNot(status, version, machine.platform === "win32" ? null : state.pid);
    if (status !== undefined && why === undefined) return status;
    if (performance.now() > endMs)
      throw new MeshError(
        "internal",
        `after ${Math.round(limitMs / 1000)} s ${why ?? "it does not answer"}; the service is ${state.says}; see \`tiermesh-agent logs\``,
      );
    await pause(LOOK_EVERY_MS);
  }
}

/** @param pid of the service's process, where its manager tells */
function whyNot(status: LocalStatus | undefined, version: string, pid: number | null): string | undefined {
  if (status === undefined) return "the agent does not answer on its socket";
  if (status.version !== version)
    return `the agent that answers is ${status.version ?? "an older one"}, not ${version}`;
  if (pid !== null && status.pid !== pid) return `process ${status.pid ?? "?"} answers, and not the service's (${pid})`;
  return status.bus_connected === false ? "the agent has no connection to the bus" : undefined;
}
