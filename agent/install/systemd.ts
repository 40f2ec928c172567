import { existsSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { MeshError } from "../../bus-schemas/index.ts";
import { THRIFTY_ENV } from "../thrift.ts";
import type { Layout } from "./layout.ts";
import type { Machine } from "./machine.ts";
import { MADE_BY_US, type ServiceManager, type ServiceOptions, type ServiceState } from "./service-manager.ts";
import type { Step } from "./steps.ts";
import { PROTECTED, RESTRICTED } from "./systemd-hardening.ts";
import { systemdUpgradeUnits, upgradeUnit, wishUnit } from "./systemd-upgrade.ts";
import { upgradeEnvironment } from "./upgrade-environment.ts";

/** sd_booted(3): systemd runs as the first process where this folder is. */
const BOOTED = "/run/systemd/system";
/** Where a package has its unit, and its program. */
export const PACKAGED_UNIT = "/usr/lib/systemd/system/tiermesh-agent.service";
export const PACKAGED_EXECUTABLE = "/usr/bin/tiermesh-agent";
/** Whose members may use graphics cards: /dev/dri and /dev/kfd belong to them. A group that does not exist would keep the unit from starting. */
const GPU_GROUPS = ["video", "render"];

function unitFile(layout: Layout): string {
  return `/etc/systemd/system/${layout.service}.service`;
}

/**
 * The unit, for `systemd-analyze security` at most 2.0. What stays open and why: it looks at the machine (devices, /proc), speaks to
 * the bus and to runtimes (networks), and V8 compiles while it runs, so MemoryDenyWriteExecute cannot be set.
 */
export function systemdUnit({ layout, profile }: ServiceOptions, groups: readonly string[]): string {
  const environment = {
    TIERMESH_HOME: layout.stateDir,
    TIERMESH_CACHE_DIR: layout.cacheDir,
    ...(profile === undefined ? {} : { TIERMESH_PROFILE: profile }),
    ...(profile === "egress" ? { TIERMESH_PROVIDERS: `${layout.configDir}/providers.yaml` } : {}),
    ...upgradeEnvironment(layout),
    // Little memory while it only waits (agent/thrift.ts); the flags are inside the executable.
    ...THRIFTY_ENV,
  };
  const name = layout.stateDir.replace("/var/lib/", "");
  return `# ${MADE_BY_US}; \`tiermesh-agent uninstall\` removes it. For changes: systemctl edit ${layout.service}
[Unit]
Description=Tiermesh: agent
Documentation=https://github.com/tiermesh/tiermesh/blob/main/docs/install.md
Wants=network-online.target
After=network-online.target
# It comes back however often it ends: a bus may be away for a week.
StartLimitIntervalSec=0
# Before it has joined a mesh there is nothing to start.
ConditionPathExists=${layout.stateDir}/agent/member.json

[Service]
Type=exec
User=${layout.account}
Group=${layout.account}
${groups.length === 0 ? "" : `SupplementaryGroups=${groups.join(" ")}\n`}${Object.entries(environment)
    .map(([variable, value]) => `Environment=${variable}=${value}`)
    .join("\n")}
# Variables, such as LOG_LEVEL; the second file may hold keys (mode 0600, root's).
EnvironmentFile=-${layout.configDir}/env
EnvironmentFile=-${layout.configDir}/agent.env
ExecStart=${layout.executable} run --json
Restart=always
RestartSec=2
# The first process alone is told: it stops what it has started in order.
KillMode=mixed
TimeoutStopSec=20
StateDirectory=${name}
StateDirectoryMode=0700
CacheDirectory=${layout.cacheDir.replace("/var/cache/", "")}
CacheDirectoryMode=0700
# Here it listens for whoever sits at this machine (tiermesh-agent pause): they may be any user of it, and can only make it take less.
RuntimeDirectory=${layout.runDir.replace("/run/", "")}
RuntimeDirectoryMode=0755
UMask=0077
LimitNOFILE=65536

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateMounts=yes
# Graphics cards, and modules that are loaded when the first program asks.
PrivateDevices=no
${PROTECTED}
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
${RESTRICTED}
RemoveIPC=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
`;
}

export function createSystemd(machine: Machine): ServiceManager {
  const live = machine.root === "";
  const booted = () => live && existsSync(BOOTED);
  const control = async (...args: string[]) => {
    const { code, stdout, stderr } = await machine.run("systemctl", live ? args : [`--root=${machine.root}`, ...args]);
    return { ok: code === 0, stdout, why: stderr.trim() };
  };
  const must = async (...args: string[]) => {
    const { ok, why } = await control(...args);
    if (!ok) throw new MeshError("internal", `systemctl ${args.join(" ")}: ${why === "" ? "failed" : why}`);
  };
  const reload = async () => {
    if (booted()) await must("daemon-reload");
  };
  /** @returns how to take it back; undefined when it was so */
  const enable = async (...units: string[]) => {
    if ((await Promise.all(units.map(isEnabled))).every(Boolean)) return undefined;
    await must("enable", ...units);
    return async () => {
      const paths = units.filter((unit) => unit.endsWith(".path"));
      if (booted() && paths.length > 0) await control("stop", ...paths);
      await control("disable", ...units);
    };
  };
  const isEnabled = async (service: string) => (await control("is-enabled", service)).stdout.trim() === "enabled";

  return {
    name: "systemd",
    missing: async () => {
      const { code } = await machine.run("systemctl", ["--version"]);
      return code === 0
        ? undefined
        : "there is no systemd here; run `tiermesh-agent run` under what supervises programs";
    },
    notRunning: () =>
      booted() ? undefined : live ? "systemd does not run here (a container, or a chroot)" : "this is an image",
    definitions: (options) => [
      { path: unitFile(options.layout), text: systemdUnit(options, gpuGroups(machine)), mode: 0o644 },
      ...systemdUpgradeUnits(options.layout),
    ],
    registration: (layout): Step[] => [
      {
        name: `systemd: ${layout.service} starts with the machine`,
        take: async () => {
          await reload();
          return enable(layout.service);
        },
      },
      {
        name: `systemd: ${wishUnit(layout)} looks for upgrades by the mesh`,
        take: async () => {
          const undo = await enable(upgradeUnit(layout), wishUnit(layout));
          if (booted()) await must("start", wishUnit(layout));
          return undo;
        },
      },
    ],
    unregister: async (layout) => {
      // Without the unit `disable` fails, and has nothing to do.
      if (booted()) await control("stop", wishUnit(layout));
      for (const unit of [wishUnit(layout), upgradeUnit(layout), layout.service]) await control("disable", unit);
      for (const file of [unitFile(layout), ...systemdUpgradeUnits(layout).map((unit) => unit.path)])
        await rm(machine.at(file), { force: true });
      await rm(machine.at(`${unitFile(layout)}.d`), { recursive: true, force: true });
      await reload();
      if (booted()) await control("reset-failed", layout.service);
    },
    start: ({ service }) => must("start", service),
    stop: async ({ service }) => {
      if (booted()) await control("stop", service);
    },
    restart: async ({ service }) => {
      await reload();
      await must("restart", service);
    },
    state: async (layout) => {
      const installed = [unitFile(layout), PACKAGED_UNIT].some((file) => existsSync(machine.at(file)));
      const enabled = installed ? await isEnabled(layout.service) : false;
      if (!booted()) return { installed, enabled, running: false, says: "systemd does not run here", pid: null };
      return { ...(await show(machine, layout.service)), installed, enabled };
    },
    logs: ({ service }, { lines, follow, plain }) => ({
      program: "journalctl",
      args: [
        "--unit",
        service,
        "--lines",
        String(lines),
        ...(follow ? ["--follow"] : ["--no-pager"]),
        ...(plain ? ["--output", "cat"] : []),
      ],
    }),
  };
}

async function show(machine: Machine, service: string): Promise<Pick<ServiceState, "running" | "says" | "pid">> {
  const asked = ["ActiveState", "SubState", "MainPID", "NRestarts", "Result"];
  const { stdout } = await machine.run("systemctl", ["show", service, `--property=${asked.join(",")}`]);
  const value = (key: string) => new RegExp(`^${key}=(.*)$`, "m").exec(stdout)?.[1] ?? "";
  const pid = Number(value("MainPID"));
  const restarts = Number(value("NRestarts"));
  const result = value("Result");
  const more = [
    ...(restarts > 0 ? [`restarted ${restarts} times by itself`] : []),
    ...(result === "success" || result === "" ? [] : [`last result ${result}`]),
  ];
  return {
    running: value("ActiveState") === "active",
    says: [`${value("ActiveState")} (${value("SubState")})`, ...more].join(", "),
    pid: Number.isInteger(pid) && pid > 0 ? pid : null,
  };
}

function gpuGroups(machine: Machine): string[] {
  try {
    const names = readFileSync(machine.at("/etc/group"), "utf8")
      .split("\n")
      .map((line) => line.split(":", 1)[0] ?? "");
    return GPU_GROUPS.filter((group) => names.includes(group));
  } catch {
    return [];
  }
}
