import { createLaunchd } from "./launchd.ts";
import type { Machine } from "./machine.ts";
import type { ServiceManager } from "./service-manager.ts";
import { createSystemd } from "./systemd.ts";
import { createWindowsService } from "./windows-service.ts";

/** The service manager of the machine's platform. */
export function serviceManagerOf(machine: Machine): ServiceManager {
  if (machine.platform === "win32") return createWindowsService(machine);
  if (machine.platform === "darwin") return createLaunchd(machine);
  return createSystemd(machine);
}
