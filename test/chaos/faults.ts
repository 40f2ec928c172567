import { spawn } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { ClusterMesh } from "../kit/cluster-mesh.ts";
import { pick } from "./seeded.ts";

/** Something bad, or a restart, that happens to a part of the mesh. */
export interface Fault {
  name: string;
  /** What it may happen to. */
  targets: (mesh: ClusterMesh) => string[];
  /** Why it cannot be done here. */
  impossible?: (mesh: ClusterMesh) => string | undefined;
  /** Does it, holds it for `holdMs` where it lasts, and takes it back. */
  run: (mesh: ClusterMesh, target: string, holdMs: number) => Promise<void>;
}

const SLOW_READER = fileURLToPath(new URL("slow-reader.ts", import.meta.url));

/** kill -9, as a crash or the kernel's memory killer does; its service manager starts it again. */
function kill(kind: string): Fault {
  return {
    name: `kill -9 ${kind}`,
    targets: (mesh) => mesh.names(kind),
    run: async (mesh, target) => {
      const { restarts } = mesh.part(target);
      mesh.part(target).signal("SIGKILL");
      while (mesh.part(target).restarts === restarts) await pause(20);
    },
  };
}

/** SIGSTOP, as a machine does that swaps or whose virtual machine is moved: it is there and says nothing. */
function freeze(kind: string): Fault {
  return {
    name: `freeze ${kind}`,
    targets: (mesh) => mesh.names(kind),
    run: async (mesh, target, holdMs) => {
      mesh.part(target).signal("SIGSTOP");
      await pause(holdMs);
      mesh.part(target).signal("SIGCONT");
    },
  };
}

/** An orderly restart of every part of a kind, one after the other, as an update does it. */
function rolling(kind: string): Fault {
  return {
    name: `rolling restart ${kind}`,
    targets: () => [`all of ${kind}`],
    run: async (mesh) => {
      for (const name of mesh.names(kind)) {
        await mesh.part(name).stop();
        await mesh.part(name).start();
        await settle(mesh, name);
      }
    },
  };
}

/** After a server's return the next may go only when the streams have their replicas again, or the cluster loses its majority. */
export async function settle(mesh: ClusterMesh, name: string): Promise<void> {
  if (!name.startsWith("bus-")) return pause(1000);
  await mesh.replicasCurrent();
}

export const FAULTS: readonly Fault[] = [
  kill("router"),
  kill("agent"),
  kill("gateway"),
  kill("auditor"),
  kill("runtime"),
  kill("bus"),
  {
    name: "kill -9 nats-server",
    targets: (mesh) => mesh.names("bus"),
    run: async (mesh, target) => {
      const pid = mesh.serverPid(target);
      process.kill(pid, "SIGKILL");
      while (mesh.serverPid(target) === pid) await pause(20);
    },
  },
  {
    name: "server down and back",
    targets: (mesh) => mesh.names("bus"),
    run: async (mesh, target, holdMs) => {
      await mesh.part(target).stop();
      await pause(holdMs);
      await mesh.part(target).start();
    },
  },
  {
    name: "kill -9 both auditors",
    targets: () => ["auditor-1 and auditor-2"],
    run: async (mesh) => {
      await Promise.all(mesh.names("auditor").map((auditor) => kill("auditor").run(mesh, auditor, 0)));
    },
  },
  freeze("router"),
  freeze("agent"),
  freeze("gateway"),
  freeze("auditor"),
  freeze("runtime"),
  freeze("bus"),
  {
    name: "freeze nats-server",
    targets: (mesh) => mesh.names("bus"),
    run: async (mesh, target, holdMs) => {
      const pid = mesh.serverPid(target);
      process.kill(pid, "SIGSTOP");
      await pause(holdMs);
      // A server that was thought dead may have been killed and started again meanwhile.
      if (mesh.serverPid(target) === pid) process.kill(pid, "SIGCONT");
    },
  },
  {
    name: "network cut",
    targets: (mesh) => mesh.hosts.map(({ name }) => name),
    impossible: ({ shared }) => shared,
    run: async (mesh, target, holdMs) => {
      const host = mesh.hosts.find(({ name }) => name === target);
      host?.cut?.();
      await pause(holdMs);
      host?.heal?.();
    },
  },
  {
    name: "slow consumer",
    targets: () => ["a monitor"],
    run: async (mesh, _target, holdMs) => {
      const reader = spawn(process.execPath, [SLOW_READER, JSON.stringify(mesh.access("monitor"))], {
        stdio: ["ignore", "pipe", "ignore"],
      });
      await new Promise((resolve) => reader.stdout.once("data", resolve));
      reader.kill("SIGSTOP");
      await pause(holdMs);
      reader.kill("SIGKILL");
    },
  },
  rolling("router"),
  rolling("gateway"),
  rolling("agent"),
  rolling("auditor"),
  rolling("bus"),
];

/** What happens next: the fault, to whom, and for how long where it lasts, milliseconds. */
export interface Step {
  fault: Fault;
  target: string;
  holdMs: number;
}

/** Faults in an order that the seed decides: all once before any comes again. */
export function* steps(mesh: ClusterMesh, faults: readonly Fault[], random: () => number): Generator<Step, never> {
  for (;;) {
    const left = [...faults];
    while (left.length > 0) {
      const fault = pick(left, random);
      left.splice(left.indexOf(fault), 1);
      yield { fault, target: pick(fault.targets(mesh), random), holdMs: 1000 + Math.floor(random() * 5000) };
    }
  }
}
