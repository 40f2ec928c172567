import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import { wishFiles } from "../upgrade/files.ts";
import type { Layout } from "./layout.ts";
import type { Machine } from "./machine.ts";
import { MADE_BY_US, type Definition, type ServiceManager, type ServiceOptions } from "./service-manager.ts";
import { upgradeEnvironment } from "./upgrade-environment.ts";
import { plist } from "./xml.ts";

/** The helper in each person's session, which tells the daemon when somebody was there (presence.ts). */
const HELPER = "com.tiermesh.presence";

function daemonFile(layout: Layout): string {
  return `/Library/LaunchDaemons/${layout.service}.plist`;
}

/** Root's part of an upgrade over the bus (ADR 0030). */
function upgradeLabel({ service }: Layout): string {
  return `${service}-upgrade`;
}

function upgradeFile(layout: Layout): string {
  return `/Library/LaunchDaemons/${upgradeLabel(layout)}.plist`;
}

const HELPER_FILE = `/Library/LaunchAgents/${HELPER}.plist`;

/** The daemon and the per-user helper, as launchd.plist(5) has them. */
export function launchdDefinitions({ layout, profile }: ServiceOptions): Definition[] {
  const log = `${layout.logDir ?? "/Library/Logs"}/agent.log`;
  const daemon = plist({
    Label: layout.service,
    ProgramArguments: [layout.executable, "run", "--json"],
    UserName: layout.account,
    GroupName: layout.account,
    EnvironmentVariables: {
      TIERMESH_HOME: layout.stateDir,
      TIERMESH_CACHE_DIR: layout.cacheDir,
      TIERMESH_RUN_DIR: layout.runDir,
      ...upgradeEnvironment(layout),
      ...(profile === undefined ? {} : { TIERMESH_PROFILE: profile }),
      ...(profile === "egress" ? { TIERMESH_PROVIDERS: `${layout.configDir}/providers.yaml` } : {}),
    },
    RunAtLoad: true,
    KeepAlive: true,
    ThrottleInterval: 2,
    ExitTimeOut: 20,
    // 077, which launchd takes as a decimal number.
    Umask: 0o077,
    StandardOutPath: log,
    StandardErrorPath: log,
  });
  const helper = plist({
    Label: HELPER,
    ProgramArguments: [layout.executable, "presence"],
    // Only where a person sits: not in the login window, nor over ssh.
    LimitLoadToSessionType: "Aqua",
    EnvironmentVariables: { TIERMESH_RUN_DIR: layout.runDir },
    RunAtLoad: true,
    KeepAlive: true,
    ThrottleInterval: 10,
    ProcessType: "Background",
  });
  const upgrade = plist({
    Label: upgradeLabel(layout),
    // As root: no UserName. launchd.plist(5) watches what is there; the folder is made by the installation.
    ProgramArguments: [layout.executable, "upgrade", "--requested", "--json"],
    WatchPaths: [wishFiles(layout.stateDir, path.posix.join).wishFolder],
    EnvironmentVariables: { TIERMESH_RUN_DIR: layout.runDir },
    // And what a power cut has left in the middle.
    RunAtLoad: true,
    ThrottleInterval: 2,
    Umask: 0o022,
    StandardOutPath: `${layout.logDir ?? "/Library/Logs"}/upgrade.log`,
    StandardErrorPath: `${layout.logDir ?? "/Library/Logs"}/upgrade.log`,
  });
  return [
    { path: daemonFile(layout), text: marked(daemon), mode: 0o644 },
    { path: HELPER_FILE, text: marked(helper), mode: 0o644 },
    { path: upgradeFile(layout), text: marked(upgrade), mode: 0o644 },
  ];
}

function marked(text: string): string {
  return text.replace("<plist ", `<!-- ${MADE_BY_US} -->\n<plist `);
}

/** By launchctl's subcommands of macOS 10.11 and later. Not run anywhere yet. */
export function createLaunchd(machine: Machine): ServiceManager {
  const live = machine.root === "";
  const control = async (...args: string[]) => {
    const { code, stdout, stderr } = await machine.run("launchctl", args);
    return { ok: code === 0, stdout, why: stderr.trim() };
  };
  const must = async (...args: string[]) => {
    const { ok, why } = await control(...args);
    if (!ok) throw new MeshError("internal", `launchctl ${args.join(" ")}: ${why === "" ? "failed" : why}`);
  };
  const loaded = async (service: string) => (await control("print", `system/${service}`)).ok;
  /** Helpers of the sessions that there are now; later ones get theirs at the login. */
  const sessions = async () => {
    const { stdout } = await machine.run("stat", ["-f", "%u", "/dev/console"]);
    const uid = Number(stdout.trim());
    return live && Number.isInteger(uid) && uid > 0 ? [`gui/${uid}`] : [];
  };

  return {
    name: "launchd",
    missing: async () => undefined,
    notRunning: () => (live ? undefined : "this is an image"),
    definitions: launchdDefinitions,
    registration: (layout) => [
      {
        name: `launchd: ${upgradeLabel(layout)} looks for upgrades by the mesh`,
        take: async () => {
          const label = upgradeLabel(layout);
          if (!live || (await loaded(label))) return undefined;
          await control("enable", `system/${label}`);
          await must("bootstrap", "system", upgradeFile(layout));
          return async () => void (await control("bootout", `system/${label}`));
        },
      },
      {
        name: `launchd: ${layout.service} starts with the machine`,
        take: async () => {
          if (!live) return undefined;
          await control("enable", `system/${layout.service}`);
          for (const session of await sessions()) await control("bootstrap", session, HELPER_FILE);
          return async () => {
            for (const session of await sessions()) await control("bootout", `${session}/${HELPER}`);
          };
        },
      },
    ],
    unregister: async (layout) => {
      for (const session of await sessions()) await control("bootout", `${session}/${HELPER}`);
      if (live) for (const label of [upgradeLabel(layout), layout.service]) await control("bootout", `system/${label}`);
      for (const file of [daemonFile(layout), HELPER_FILE, upgradeFile(layout)])
        await rm(machine.at(file), { force: true });
    },
    start: async (layout) => {
      if (!(await loaded(layout.service))) await must("bootstrap", "system", daemonFile(layout));
    },
    // A daemon that is to be kept alive is stopped by taking it away.
    stop: async ({ service }) => {
      if (live) await control("bootout", `system/${service}`);
    },
    restart: async (layout) => {
      await control("bootout", `system/${layout.service}`);
      await must("bootstrap", "system", daemonFile(layout));
    },
    state: async (layout) => {
      const installed = existsSync(machine.at(daemonFile(layout)));
      if (!live) return { installed, enabled: installed, running: false, says: "launchd does not run here", pid: null };
      const { ok, stdout } = await control("print", `system/${layout.service}`);
      const word = /^\s*state = (.+)$/m.exec(stdout)?.[1] ?? (ok ? "loaded" : "not loaded");
      const pid = Number(/^\s*pid = (\d+)$/m.exec(stdout)?.[1] ?? Number.NaN);
      return { installed, enabled: ok, running: word === "running", says: word, pid: Number.isNaN(pid) ? null : pid };
    },
    logs: ({ logDir }, { lines, follow }) => ({
      program: "tail",
      args: ["-n", String(lines), ...(follow ? ["-F"] : []), `${logDir ?? "/Library/Logs"}/agent.log`],
    }),
  };
}
