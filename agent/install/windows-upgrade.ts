import { createHash } from "node:crypto";
import path from "node:path";
import type { Layout } from "./layout.ts";
import { MADE_BY_US } from "./service-manager.ts";
import { xmlText } from "./xml.ts";

/** Name of the scheduled task that does root's part of an upgrade over the bus (ADR 0030). */
export const UPGRADE_TASK = "tiermesh-agent-upgrade";

/** Where its definition lies; the task itself is kept by Windows. */
export function taskFile({ executable }: Pick<Layout, "executable">): string {
  return path.win32.join(path.win32.dirname(executable), `${UPGRADE_TASK}.xml`);
}

/**
 * The SID of a service's virtual account, as Windows derives it: S-1-5-80- and the SHA-1 of the name in capitals as UTF-16LE, as five
 * 32-bit numbers (MS-DTYP 2.4.2.4, "NT SERVICE"; `sc.exe showsid` prints it).
 */
export function serviceSid(service: string): string {
  const hash = createHash("sha1").update(Buffer.from(service.toUpperCase(), "utf16le")).digest();
  return ["S-1-5-80", ...Array.from({ length: 5 }, (_, i) => hash.readUInt32LE(i * 4))].join("-");
}

/**
 * The task, as the Task Scheduler's schema 1.2 has it. The agent runs it when it has written its wish, which the security
 * descriptor lets its account do (read and execute), and nothing else; administrators and the system may do all. At the start of the
 * machine it ends what a power cut has left in the middle.
 * Not run anywhere yet.
 */
export function upgradeTask({ executable, service }: Pick<Layout, "executable" | "service">): string {
  const rights = `D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;GRGX;;;${serviceSid(service)})`;
  return `<?xml version="1.0" encoding="UTF-8"?>
<!-- ${MADE_BY_US} -->
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>Exchanges the program of the Tiermesh agent for a signed one, when the agent asks for it.</Description>
    <SecurityDescriptor>${rights}</SecurityDescriptor>
  </RegistrationInfo>
  <Triggers>
    <BootTrigger>
      <Delay>PT1M</Delay>
    </BootTrigger>
  </Triggers>
  <Principals>
    <Principal id="System">
      <UserId>S-1-5-18</UserId>
      <RunLevel>HighestAvailable</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>Queue</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <AllowStartOnDemand>true</AllowStartOnDemand>
    <ExecutionTimeLimit>PT30M</ExecutionTimeLimit>
    <Enabled>true</Enabled>
  </Settings>
  <Actions Context="System">
    <Exec>
      <Command>${xmlText(executable)}</Command>
      <Arguments>upgrade --requested --json</Arguments>
    </Exec>
  </Actions>
</Task>
`;
}
