import type { Profile } from "../manners/settings.ts";
import type { Layout } from "./layout.ts";
import type { Step } from "./steps.ts";

/** What the service is told of this installation. */
export interface ServiceOptions {
  layout: Layout;
  /** undefined = by the node's layer. */
  profile: Profile | undefined;
}

/** A file that makes the agent a service. */
export interface Definition {
  path: string;
  text: string;
  mode: number;
}

export interface ServiceState {
  /** Whether the service manager knows the agent. */
  installed: boolean;
  /** Starts with the machine; null = cannot be told. */
  enabled: boolean | null;
  running: boolean;
  /** In the service manager's own words. */
  says: string;
  pid: number | null;
}

export interface LogOptions {
  lines: number;
  follow: boolean;
  /** Only the agent's own lines, which are JSON, without what the journal writes before each. */
  plain: boolean;
}

/** One way to run programs in the background: systemd, launchd, Windows' service control. One file for each. */
export interface ServiceManager {
  name: string;
  /** undefined when programs can be installed with it here; else why not, for people. */
  missing(): Promise<string | undefined>;
  /** undefined when it runs here; else why nothing can be started now, for people. */
  notRunning(): string | undefined;
  definitions(options: ServiceOptions): Definition[];
  /** Makes the definitions known and has the agent start with the machine. Takes itself back. */
  registration(layout: Layout): Step[];
  /** Undoes {@link registration}; what is not there is no error. */
  unregister(layout: Layout): Promise<void>;
  /** Each throws MeshError `internal` with what the service manager says. */
  start(layout: Layout): Promise<void>;
  /** Waits until it has ended; not running is no error. */
  stop(layout: Layout): Promise<void>;
  restart(layout: Layout): Promise<void>;
  state(layout: Layout): Promise<ServiceState>;
  /** The command that shows the agent's log. */
  logs(layout: Layout, options: LogOptions): { program: string; args: string[] };
}

/** Written into every definition; a file without it was made by somebody else, and is not touched. */
export const MADE_BY_US = "Written by `tiermesh-agent install`";

/** Whether a definition is of root's part of upgrades over the bus (ADR 0030), by its name. */
export function isForUpgrades(file: string): boolean {
  return /-upgrade\.(service|path|plist|xml)$/.test(file);
}
