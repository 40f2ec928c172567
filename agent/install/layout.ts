import path from "node:path";
import type { Environment } from "../../service/config.ts";

/** Where the parts of an installed agent lie. Every path is one of the machine, not of an image of it. */
export interface Layout {
  /** What the service manager knows the agent by. */
  service: string;
  /** The account that the agent runs as; it owns state and cache and nothing else. */
  account: string;
  /** The single executable. */
  executable: string;
  /** The one that an upgrade has replaced. */
  previous: string;
  /** What administrators write: agent-policy.yaml, env, agent.env, release.pub. */
  configDir: string;
  /** What was installed, and how (record.ts). */
  record: string;
  /** Keys, the membership, spools. Mode 0700. */
  stateDir: string;
  cacheDir: string;
  /** Where it listens for whoever sits at the machine. */
  runDir: string;
  /** Root's: what came of an upgrade that the agent asked for, for the agent to read. */
  upgradeDir: string;
  /** Folder of log files, where the system has no journal. */
  logDir: string | null;
}

/** By the rules of each platform: FHS on Linux, /Library on macOS, Program Files and ProgramData on Windows. */
export function layoutOf(platform: NodeJS.Platform, env: Environment = {}): Layout {
  if (platform === "win32") return windowsLayout(env);
  if (platform === "darwin") return macLayout();
  return {
    service: "tiermesh-agent",
    account: "tiermesh-agent",
    executable: "/usr/local/bin/tiermesh-agent",
    previous: "/usr/local/bin/tiermesh-agent.previous",
    configDir: "/etc/tiermesh",
    record: "/etc/tiermesh/install.json",
    stateDir: "/var/lib/tiermesh-agent",
    cacheDir: "/var/cache/tiermesh-agent",
    runDir: "/run/tiermesh",
    upgradeDir: "/var/lib/tiermesh-upgrade",
    logDir: null,
  };
}

function macLayout(): Layout {
  const configDir = "/Library/Application Support/tiermesh";
  return {
    service: "com.tiermesh.agent",
    // Accounts of services begin with _ there.
    account: "_tiermesh",
    executable: "/usr/local/bin/tiermesh-agent",
    previous: "/usr/local/bin/tiermesh-agent.previous",
    configDir,
    record: `${configDir}/install.json`,
    stateDir: `${configDir}/agent`,
    cacheDir: "/Library/Caches/tiermesh",
    // /var/run is root's and empty after each start, and launchd makes no folders.
    runDir: `${configDir}/run`,
    upgradeDir: `${configDir}/upgrade`,
    logDir: "/Library/Logs/tiermesh",
  };
}

function windowsLayout(env: Environment): Layout {
  const { join } = path.win32;
  const programs = join(env["ProgramFiles"] ?? String.raw`C:\Program Files`, "tiermesh");
  const data = join(env["ProgramData"] ?? String.raw`C:\ProgramData`, "tiermesh");
  return {
    service: "tiermesh-agent",
    // A virtual account: Windows makes it for the service, without a password.
    account: String.raw`NT SERVICE\tiermesh-agent`,
    executable: join(programs, "tiermesh-agent.exe"),
    previous: join(programs, "tiermesh-agent.previous.exe"),
    configDir: data,
    record: join(data, "install.json"),
    stateDir: join(data, "agent"),
    cacheDir: join(data, "cache"),
    // The socket is a named pipe.
    runDir: join(data, "run"),
    upgradeDir: join(data, "upgrade"),
    logDir: join(data, "logs"),
  };
}
