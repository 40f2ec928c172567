import { fileURLToPath } from "node:url";
import { startTestBus } from "../kit/bus.ts";
import { startProc } from "../kit/proc.ts";
import type { Bench, Report } from "./bench.ts";
import { busEnv } from "./bus-address.ts";
import { startChild } from "./child.ts";
import { paired, type Variant } from "./harness.ts";
import { HttpLoad } from "./http-load.ts";
import { cpuUsOf } from "./process-cpu.ts";

const GATEWAY = fileURLToPath(new URL("../../gateway/main.ts", import.meta.url));
const CONNECTIONS = 64;
/** Requests of a round. */
const MANY = 400;
const FEW = 100;

/** A streamed chat through the gateway, against the same bytes through a proxy that reads nothing. */
export const gateway: Bench = {
  summary: "streamed chats through a real gateway process, against a bare Node reverse proxy",
  run,
};

async function run(report: Report): Promise<void> {
  await using server = await startTestBus();
  // It answers in place of routers and agents, so that what is left is the gateway.
  await using upstream = await startChild(new URL("./upstream.child.ts", import.meta.url), busEnv(server));
  await using proxy = await startChild(new URL("./reverse-proxy.child.ts", import.meta.url), {
    BENCH_UPSTREAM_PORT: String(upstream.facts["port"]),
  });
  await using real = startProc(GATEWAY, {
    env: { ...busEnv(server), TIERMESH_GATEWAY_PORT: "0", TIERMESH_HEALTH_PORT: "0", TIERMESH_SUPERVISED: undefined },
  });
  const [line] = await real.waitForLine(/\{"ready":true.*/, 20_000);
  const { port, health_port: healthPort } = JSON.parse(line) as { port: number; health_port: number };
  const measured =
    (load: HttpLoad, requests: number, cpu: () => Promise<number>): Variant =>
    async () => {
      const before = await cpu();
      const { ops, latenciesUs } = await load.run(requests);
      return { ops, latenciesUs, cpuUs: (await cpu()) - before };
    };
  for (const [name, connections, requests] of [
    ["first SSE chunk, one request at a time", 1, FEW],
    [`first SSE chunk, ${CONNECTIONS} connections`, CONNECTIONS, MANY],
  ] as const) {
    using toUpstream = new HttpLoad(Number(upstream.facts["port"]), connections);
    using toProxy = new HttpLoad(Number(proxy.facts["port"]), connections);
    using toGateway = new HttpLoad(port, connections);
    report.add(
      await paired(
        name,
        {
          "bare reverse proxy": measured(toProxy, requests, proxy.cpuUs),
          gateway: measured(toGateway, requests, () => cpuUsOf(healthPort)),
          "upstream itself": measured(toUpstream, requests, upstream.cpuUs),
        },
        { rounds: 11 },
      ),
    );
  }
  report.note("rates are whole answers; CPU is that of the proxy, the gateway or the upstream for one answer");
}
