import { z } from "zod";
import { MeshError, type SleepEntry } from "../../bus-schemas/index.ts";
import { EXIT, examples, type CommandModule } from "../command.ts";
import { table } from "../format/table.ts";
import { print, printJson } from "../format/terminal.ts";
import { describeSleep, sleepersOf } from "../nodes/sleepers.ts";
import { addressIn, readMeshFile, type MeshFile } from "../mesh-file.ts";
import { connectBus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";

/** A process's /health answers within this time, milliseconds. */
const HEALTH_LIMIT_MS = 1000;

export const status: CommandModule = (program) => {
  program
    .command("status")
    .description("the parts of the mesh on this machine and their health")
    .option("--json", "as JSON")
    .addHelpText("after", examples("tiermesh status", "tiermesh status --json"))
    .action(async (flags: { json?: boolean }) => {
      const file = readMeshFile(process.env);
      if (file === undefined)
        throw new MeshError("bus_unavailable", "no mesh runs on this machine; start one with `npm start`");
      const parts = await Promise.all(
        file.processes.map(async ({ name, pid, state, restarts, health_port: port }) => ({
          name,
          pid,
          state,
          restarts,
          ...(await healthOf(name, port, file.gateway_url)),
        })),
      );
      const sleepers = await lookAtBus(file);
      const busOk = sleepers !== undefined;
      if (flags.json === true)
        printJson({
          pid: file.pid,
          started_at: file.started_at,
          version: file.version,
          bus: file.nats_url,
          bus_ok: busOk,
          gateway: file.gateway_url,
          parts,
          asleep: [...(sleepers ?? [])].map(({ node_id, ready_in_seconds, since_unix_ms }) => {
            return { node_id, ready_in_seconds, since_unix_ms };
          }),
        });
      else {
        print(`mesh ${file.cell}, version ${file.version}, up since ${file.started_at} (process ${file.pid})`);
        print(
          `bus ${file.nats_url} (${busOk ? "ok" : "does not answer"}) · gateway ${file.gateway_url} · state in ${file.state_dir}`,
        );
        print();
        print(
          table([
            ["PART", "PID", "HEALTH", "RESTARTS", "NODE"],
            ...parts.map(({ name, pid, ok, restarts, node }) => [
              name,
              String(pid ?? "-"),
              ok ? "ok" : "not ok",
              String(restarts),
              node === null ? "" : `${node.node_id} ${stateOf(node)}`,
            ]),
          ]),
        );
        for (const sleeper of sleepers ?? []) print(`${sleeper.node_id}: ${describeSleep(sleeper, Date.now())}`);
      }
      process.exitCode = busOk && parts.every(({ ok }) => ok) ? EXIT.ok : EXIT.failed;
    });
};

/** The machines that sleep and can be woken; undefined when the bus does not answer. */
async function lookAtBus(file: MeshFile): Promise<SleepEntry[] | undefined> {
  try {
    const bus = await connectBus("status", addressIn(file), createLog("status", "silent"), {
      timeoutMs: HEALTH_LIMIT_MS,
    });
    try {
      // The bus answers, whether or not that is known to it.
      const asleep = await sleepersOf(bus).catch(() => new Map<string, SleepEntry>());
      return [...asleep.values()];
    } finally {
      await bus.drain();
    }
  } catch {
    return undefined;
  }
}

/** What an agent's /health says of its node. */
const NodeHealth = z.object({
  node_id: z.string(),
  status: z.string(),
  reason: z.string().nullable(),
  sick_gpus: z.array(z.string()).default([]),
});
type NodeHealth = z.infer<typeof NodeHealth>;

/** `node`: whether it takes jobs, and why not; null for other parts than agents. */
async function healthOf(
  name: string,
  port: number | null,
  gatewayUrl: string,
): Promise<{ ok: boolean; node: NodeHealth | null }> {
  const base = name === "gateway" ? gatewayUrl : port === null ? undefined : `http://127.0.0.1:${port}`;
  if (base === undefined) return { ok: false, node: null };
  try {
    const response = await fetch(`${base}/health`, { signal: AbortSignal.timeout(HEALTH_LIMIT_MS) });
    const node = NodeHealth.safeParse(await response.json());
    return { ok: response.ok, node: node.success ? node.data : null };
  } catch {
    return { ok: false, node: null };
  }
}

/** In operators' words. */
function stateOf({ status, reason, sick_gpus: sick }: NodeHealth): string {
  const word = status === "healthy" ? "takes jobs" : status;
  return [reason === null ? word : `${word}: ${reason}`, ...sick.map((gpu) => `sick ${gpu}`)].join("; ");
}
