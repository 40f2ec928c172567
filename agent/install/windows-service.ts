import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { MeshError } from "../../bus-schemas/index.ts";
import type { Layout } from "./layout.ts";
import type { Machine } from "./machine.ts";
import { MADE_BY_US, type ServiceManager, type ServiceOptions } from "./service-manager.ts";
import { upgradeEnvironment } from "./upgrade-environment.ts";
import { UPGRADE_TASK, taskFile, upgradeTask } from "./windows-upgrade.ts";
import { xmlText } from "./xml.ts";

/** WinSW under the service's own name: it reads the XML file beside it. */
export function wrapperFile({ executable }: Layout): string {
  return path.win32.join(path.win32.dirname(executable), "tiermesh-agent-service.exe");
}

function definitionFile({ executable }: Layout): string {
  return path.win32.join(path.win32.dirname(executable), "tiermesh-agent-service.xml");
}

/** WinSW's configuration (winsw/docs/xml-config-file.md). The account is set afterwards, by `sc.exe config`. */
export function winswXml({ layout, profile }: ServiceOptions): string {
  const environment = {
    TIERMESH_HOME: layout.stateDir,
    TIERMESH_CACHE_DIR: layout.cacheDir,
    ...upgradeEnvironment(layout, path.win32.join),
    ...(profile === undefined ? {} : { TIERMESH_PROFILE: profile }),
    ...(profile === "egress" ? { TIERMESH_PROVIDERS: path.win32.join(layout.configDir, "providers.yaml") } : {}),
  };
  const lines = Object.entries(environment).map(
    ([name, value]) => `  <env name="${xmlText(name)}" value="${xmlText(value)}"/>`,
  );
  return `<?xml version="1.0" encoding="utf-8"?>
<!-- ${MADE_BY_US} -->
<service>
  <id>${xmlText(layout.service)}</id>
  <name>Tiermesh agent</name>
  <description>Runs AI jobs of the company's mesh on this machine, as far as its owner lets it.</description>
  <executable>${xmlText(layout.executable)}</executable>
  <arguments>run --json</arguments>
  <startmode>Automatic</startmode>
  <delayedAutoStart>true</delayedAutoStart>
${lines.join("\n")}
  <logpath>${xmlText(layout.logDir ?? layout.stateDir)}</logpath>
  <log mode="roll-by-size">
    <sizeThreshold>10240</sizeThreshold>
    <keepFiles>4</keepFiles>
  </log>
  <onfailure action="restart" delay="2 sec"/>
  <resetfailure>1 hour</resetfailure>
  <stoptimeout>20 sec</stoptimeout>
</service>
`;
}

/** By WinSW 2 or 3 and sc.exe. Not run anywhere yet. */
export function createWindowsService(machine: Machine): ServiceManager {
  const live = machine.root === "";
  const wrapper = (layout: Layout, ...args: string[]) => must(machine, machine.at(wrapperFile(layout)), args);
  const query = (service: string) => machine.run("sc.exe", ["queryex", service]);
  const known = async (service: string) => live && (await query(service)).code === 0;

  return {
    name: "Windows service",
    missing: async () => undefined,
    notRunning: () => (live ? undefined : "this is an image"),
    definitions: (options) => [
      { path: definitionFile(options.layout), text: winswXml(options), mode: 0o644 },
      { path: taskFile(options.layout), text: upgradeTask(options.layout), mode: 0o644 },
    ],
    registration: (layout) => [
      {
        name: `service ${layout.service} as ${layout.account}`,
        take: async () => {
          if (!live || (await known(layout.service))) return undefined;
          await wrapper(layout, "install");
          const undo = () => wrapper(layout, "uninstall");
          try {
            await must(machine, "sc.exe", ["config", layout.service, "obj=", layout.account]);
            // Keys and membership are the service's and the administrators' alone; the account exists from here on.
            for (const dir of [layout.stateDir, layout.cacheDir, layout.logDir ?? layout.stateDir])
              await must(machine, "icacls.exe", [
                dir,
                "/inheritance:r",
                "/grant:r",
                `${layout.account}:(OI)(CI)F`,
                "*S-1-5-32-544:(OI)(CI)F",
                "*S-1-5-18:(OI)(CI)F",
              ]);
          } catch (error) {
            await undo();
            throw error;
          }
          return undo;
        },
      },
      {
        name: `scheduled task ${UPGRADE_TASK}, as the system`,
        take: async () => {
          if (!live || (await machine.run("schtasks.exe", ["/Query", "/TN", UPGRADE_TASK])).code === 0)
            return undefined;
          await must(machine, "schtasks.exe", ["/Create", "/TN", UPGRADE_TASK, "/XML", machine.at(taskFile(layout))]);
          const undo = () => must(machine, "schtasks.exe", ["/Delete", "/TN", UPGRADE_TASK, "/F"]);
          try {
            // The outcome is for the agent to read; what is staged is nobody's but the system's.
            const { upgradeDir, account } = layout;
            const system = ["*S-1-5-32-544:(OI)(CI)F", "*S-1-5-18:(OI)(CI)F"];
            const staging = path.win32.join(upgradeDir, "staged");
            await mkdir(staging, { recursive: true });
            await must(machine, "icacls.exe", [
              upgradeDir,
              "/inheritance:r",
              "/grant:r",
              `${account}:(OI)(CI)RX`,
              ...system,
            ]);
            await must(machine, "icacls.exe", [staging, "/inheritance:r", "/grant:r", ...system]);
          } catch (error) {
            await undo();
            throw error;
          }
          return undo;
        },
      },
    ],
    unregister: async (layout) => {
      if (live) await machine.run("schtasks.exe", ["/Delete", "/TN", UPGRADE_TASK, "/F"]);
      if (await known(layout.service)) await wrapper(layout, "uninstall");
      for (const file of [definitionFile(layout), wrapperFile(layout), taskFile(layout)])
        await rm(machine.at(file), { force: true });
    },
    start: (layout) => wrapper(layout, "start"),
    stop: async (layout) => {
      if (await known(layout.service)) await machine.run(machine.at(wrapperFile(layout)), ["stop"]);
    },
    restart: (layout) => wrapper(layout, "restart"),
    state: async (layout) => {
      const installed = existsSync(machine.at(definitionFile(layout)));
      if (!live) return { installed, enabled: null, running: false, says: "no Windows runs here", pid: null };
      const { code, stdout } = await query(layout.service);
      // `STATE : 4  RUNNING`; the number is the same in every language.
      const [, number, word = "unknown"] = /:\s+(\d)\s+([A-Z_]+)/.exec(stdout.split(/\bSTATE\b/)[1] ?? "") ?? [];
      const pid = Number(/PID\s+:\s+(\d+)/.exec(stdout)?.[1] ?? 0);
      return {
        installed,
        enabled: null,
        running: number === "4",
        says: code === 0 ? word.toLowerCase() : "not registered",
        pid: pid > 0 ? pid : null,
      };
    },
    logs: ({ logDir }, { lines, follow }) => ({
      program: "powershell.exe",
      args: [
        "-NoProfile",
        "-Command",
        `Get-Content -LiteralPath '${logDir ?? ""}\\tiermesh-agent-service.out.log' -Tail ${lines}${follow ? " -Wait" : ""}`,
      ],
    }),
  };
}

async function must(machine: Machine, program: string, args: string[]): Promise<void> {
  const { code, stdout, stderr } = await machine.run(program, args);
  if (code === 0) return;
  const said = `${stderr}${stdout}`.trim().split("\n")[0] ?? "";
  throw new MeshError(
    "internal",
    `${path.win32.basename(program)} ${args.join(" ")}: ${said === "" ? "failed" : said}`,
  );
}
