import path from "node:path";
import { wishFiles } from "../upgrade/files.ts";
import type { Layout } from "./layout.ts";
import { MADE_BY_US, type Definition } from "./service-manager.ts";
import { PROTECTED, RESTRICTED } from "./systemd-hardening.ts";

const DOCUMENTATION = "Documentation=https://github.com/tiermesh/tiermesh/blob/main/docs/install.md";

/** The unit that looks for the agent's wish. */
export function wishUnit({ service }: Pick<Layout, "service">): string {
  return `${service}-upgrade.path`;
}

/** The one that grants it, or not. */
export function upgradeUnit({ service }: Pick<Layout, "service">): string {
  return `${service}-upgrade.service`;
}

/**
 * Root's part of an upgrade over the bus (ADR 0030): a service that runs once whenever the agent has written its wish. It has no network,
 * and writes where the program, its units and its record are; it asks systemd to restart the agent.
 */
export function systemdUpgradeUnits(layout: Layout): Definition[] {
  const { configDir, executable, service, stateDir, upgradeDir } = layout;
  const at = (name: string) => `/etc/systemd/system/${name}`;
  const mark = `# ${MADE_BY_US}; \`tiermesh-agent uninstall\` removes it`;
  const oneshot = `${mark}
[Unit]
Description=Tiermesh: exchanges the agent's program for a signed one
${DOCUMENTATION}
# Whoever may ask may ask often.
StartLimitIntervalSec=0
# At the start of the machine it ends what a power cut has left in the middle, or takes it back.
After=${service}.service
ConditionPathExists=${wishFiles(stateDir, path.posix.join).wish}

[Service]
Type=oneshot
ExecStart=${executable} upgrade --requested --json
# Two starts of an agent, and copies of a hundred megabytes.
TimeoutStartSec=30min
StateDirectory=${upgradeDir.replace("/var/lib/", "")}
StateDirectoryMode=0755
UMask=0022

NoNewPrivileges=yes
# It reads in the agent's folder, and speaks to its socket.
CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER
ProtectSystem=strict
ReadWritePaths=${path.posix.dirname(executable)} ${configDir} /etc/systemd/system
ReadOnlyPaths=-${stateDir}
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateNetwork=yes
${PROTECTED}
RestrictAddressFamilies=AF_UNIX
${RESTRICTED}
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
`;
  const watch = `${mark}
[Unit]
Description=Tiermesh: looks whether the agent asks for an upgrade
${DOCUMENTATION}

[Path]
PathChanged=${wishFiles(stateDir, path.posix.join).wish}
Unit=${upgradeUnit(layout)}

[Install]
WantedBy=multi-user.target
`;
  return [
    { path: at(upgradeUnit(layout)), text: oneshot, mode: 0o644 },
    { path: at(wishUnit(layout)), text: watch, mode: 0o644 },
  ];
}
