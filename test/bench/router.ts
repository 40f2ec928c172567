import { writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { DataClass } from "../../bus-schemas/index.ts";
import { connectBus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { ensureAuditStream } from "../../service/streams.ts";
import { startTestBus } from "../kit/bus.ts";
import { startProc } from "../kit/proc.ts";
import { tempDir } from "../kit/temp-dir.ts";
import { startAgents } from "./answering-agent.ts";
import type { Bench, Report } from "./bench.ts";
import { busAddress, busEnv } from "./bus-address.ts";
import { startChild } from "./child.ts";
import { paired, type Variant } from "./harness.ts";
import { JobLoad } from "./job-load.ts";
import { cpuUsOf } from "./process-cpu.ts";

const ROUTER = fileURLToPath(new URL("../../router/main.ts", import.meta.url));
/** More than a bench has in flight: what is measured is the way through, not the wait for a place in the queue's cap. */
const POLICY = "routing_policy: { task_queues: { chat: { max_concurrency: 100000 } } }\n";
/** Cell of the router that keeps no record; cells may share a broker. */
const UNRECORDED = "unrecorded";
const NODES = 8;
/** Jobs in flight when throughput is measured, and jobs of a round. */
const BURST = { window: 256, jobs: 2000 };
const ALONE = { window: 1, jobs: 200 };

/** The way of a job through a router, against the same way without one. */
export const router: Bench = {
  summary: "jobs through a real router process to nodes that answer at once, against one hop and a bare forwarder",
  run,
};

async function run(report: Report): Promise<void> {
  await using server = await startTestBus();
  const log = createLog("bench", "warn");
  const mesh = await connectBus("bench", busAddress(server), log);
  const other = await connectBus("bench-unrecorded", busAddress(server, UNRECORDED), log);
  await ensureAuditStream(mesh);
  const policy = path.join(tempDir("bench-router-").path, "routing.yaml");
  writeFileSync(policy, POLICY);
  mesh.listen("bench.echo", (msg) => void msg.respond(msg.data));
  await using forwarder = await startChild(new URL("./forwarder.child.ts", import.meta.url), busEnv(server));
  using _agents = startAgents(mesh, NODES);
  using _others = startAgents(other, NODES);
  await using bare = await startChild(new URL("./bare-router.child.ts", import.meta.url), busEnv(server, UNRECORDED));
  await using real = startProc(ROUTER, {
    env: { ...busEnv(server), ROUTING_CONFIG_PATH: policy, TIERMESH_HEALTH_PORT: "0", TIERMESH_SUPERVISED: undefined },
  });
  const [, port] = await real.waitForLine(/"ready":true.*"health_port":(\d+)/, 20_000);
  const load = new JobLoad(mesh);
  const otherLoad = new JobLoad(other);

  const measured =
    (
      which: JobLoad,
      subject: string,
      { jobs, window }: typeof BURST,
      cpu: () => Promise<number>,
      dataClass: DataClass,
    ): Variant =>
    async () => {
      const before = await cpu();
      const work = await which.run(subject, jobs, window, dataClass);
      const cpuUs = (await cpu()) - before;
      return { ops: work.ops, cpuUs, ...(window === 1 ? { latenciesUs: work.latenciesUs } : {}) };
    };
  // Without a router there is no process to blame.
  const nothing = () => Promise.resolve(Number.NaN);
  const realCpu = () => cpuUsOf(Number(port));
  const variants = (how: typeof BURST) => ({
    forwarder: measured(load, "bench.forward", how, forwarder.cpuUs, "P2"),
    unrecorded: measured(otherLoad, other.subjects.submit("chat"), how, bare.cpuUs, "P2"),
    p2: measured(load, mesh.subjects.submit("chat"), how, realCpu, "P2"),
    p1: measured(load, mesh.subjects.submit("chat"), how, realCpu, "P1"),
  });
  try {
    const alone = variants(ALONE);
    report.add(
      await paired("one job at a time, to its answer", {
        "one hop, no router": measured(load, "bench.echo", ALONE, nothing, "P2"),
        "bare forwarder": alone.forwarder,
        "router without its record": alone.unrecorded,
        "router, P2": alone.p2,
        "router, P1 (record is durable first)": alone.p1,
      }),
    );
    const burst = variants(BURST);
    report.add(
      await paired(`${BURST.window} jobs in flight`, {
        "bare forwarder": burst.forwarder,
        "router without its record": burst.unrecorded,
        "router, P2": burst.p2,
        "router, P1 (record is durable first)": burst.p1,
      }),
    );
    report.note("CPU is that of the router or forwarder for one job; this process plays callers and nodes");
  } finally {
    await mesh.drain();
    await other.drain();
  }
}
