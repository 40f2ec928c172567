import { readRecord } from "../../agent/install/record.ts";
import type { ServiceState } from "../../agent/install/service-manager.ts";
import type { LocalStatus } from "../../agent/local-control/protocol.ts";
import { MeshError } from "../../bus-schemas/index.ts";
import { EXIT } from "../command.ts";
import { print, printJson } from "../format/terminal.ts";
import { describeAgent } from "./describe.ts";
import { askLocalAgents } from "./local-agents.ts";
import { installedEnv, placeOf } from "./place.ts";

/** The installed service, for `status`. */
interface ServiceStatus extends ServiceState {
  manager: string;
  /** Of the installed program; null when root alone may know. */
  version: string | null;
}

/**
 * Shows the service and what each agent of this machine says. Exit code 1 when the service should run and does not.
 * @throws MeshError `not_found` when there is neither
 */
export async function showStatus({ node, json }: { node?: string; json?: boolean }): Promise<void> {
  const place = placeOf();
  const state = await place.manager.state(place.layout);
  const service: ServiceStatus | null = state.installed
    ? { manager: place.manager.name, version: versionOf(place), ...state }
    : null;
  const agents = await askLocalAgents(installedEnv(place), { command: "status" }, node).catch((error: unknown) => {
    const known = MeshError.from(error);
    if (service !== null && node === undefined && known.code === "not_found") return [];
    throw known;
  });
  if (json === true) printJson({ service, agents });
  else print(statusText(service, agents));
  if (service !== null && (!service.running || agents.length === 0)) process.exitCode = EXIT.failed;
}

/** For people: the service first, then its agents. */
export function statusText(service: ServiceStatus | null, agents: readonly LocalStatus[]): string {
  return [...(service === null ? [] : [describeService(service)]), ...agents.map(describeAgent)].join("\n\n");
}

function describeService({ manager, version, enabled, running, says }: ServiceStatus): string {
  const start = enabled === null ? "" : enabled ? ", starts with the machine" : ", does not start with the machine";
  const program = version === null ? "" : `; version ${version} is installed`;
  return `${manager}: ${says}${start}${program}${running ? "" : "\n  → tiermesh-agent doctor says what to do"}`;
}

function versionOf({ machine, layout }: ReturnType<typeof placeOf>): string | null {
  try {
    return readRecord(machine, layout)?.version ?? null;
  } catch {
    return null;
  }
}
