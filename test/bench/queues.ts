import { writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { connectBus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { pause } from "../../service/loop.ts";
import { ensureAuditStream } from "../../service/streams.ts";
import { startTestBus } from "../kit/bus.ts";
import { startProc } from "../kit/proc.ts";
import { SlotAgent } from "../kit/slot-agent.ts";
import { tempDir } from "../kit/temp-dir.ts";
import type { Bench, Report } from "./bench.ts";
import { busAddress, busEnv } from "./bus-address.ts";
import { quantile } from "./harness.ts";
import { OpenLoad, type Arrivals, type Outcome } from "./open-load.ts";

const ROUTER = fileURLToPath(new URL("../../router/main.ts", import.meta.url));
const POLICY = `routing_policy:
  task_queues:
    chat: { priority: 100, max_concurrency: 500, timeout_ms: 30000 }
    media: { priority: 60, max_concurrency: 500, timeout_ms: 30000 }
`;
const NODES = 4;
const SLOTS = 5;
/** A job takes so long, half to one and a half times, milliseconds. */
const SERVICE_MS = 200;
/** Jobs a second that the nodes can do. */
const CAPACITY = (NODES * SLOTS * 1000) / SERVICE_MS;
const ROUNDS = 3;
const ROUND_MS = 8000;
/** After a round all is quiet for this long, milliseconds. */
const CALM_MS = 1500;
/** How many routers share the jobs. */
const ROUTERS = [1, 3];

/** What overload does to those who are served, against the same mesh below its capacity. */
export const queues: Bench = {
  summary:
    "overload of 2 and 10 times the capacity through real routers: goodput, latency, who is sent away, Retry-After",
  run,
};

async function run(report: Report): Promise<void> {
  for (const routers of ROUTERS) await withRouters(routers, report);
  report.note(
    `${NODES} scripted nodes of ${SLOTS} slots without queues of their own, ${SERVICE_MS} ms a job: ${CAPACITY} jobs/s; ` +
      `medians of ${ROUNDS} rounds of ${ROUND_MS / 1000} s, lowest and highest in brackets; callers come at random`,
  );
}

async function withRouters(count: number, report: Report): Promise<void> {
  await using server = await startTestBus();
  const dir = tempDir("bench-queues-");
  const file = path.join(dir.path, "routing.yaml");
  writeFileSync(file, POLICY);
  const log = createLog("bench", "warn");
  const bus = await connectBus("bench", busAddress(server), log);
  await ensureAuditStream(bus);
  const env = {
    ...busEnv(server),
    ROUTING_CONFIG_PATH: file,
    TIERMESH_HEALTH_PORT: "0",
    TIERMESH_SUPERVISED: undefined,
  };
  const agents: SlotAgent[] = [];
  for (let i = 0; i < NODES; i++)
    agents.push(
      new SlotAgent(await connectBus(`n${i}`, busAddress(server), log), {
        nodeId: `n${i}`,
        model: "tiny",
        slots: SLOTS,
        serviceMs: () => SERVICE_MS * (0.5 + Math.random()),
      }),
    );
  const routers = Array.from({ length: count }, () => startProc(ROUTER, { env }));
  try {
    await Promise.all(routers.map((router) => router.waitForLine(/"ready":true/, 30_000)));
    await measure(new OpenLoad(bus), agents, `${count} router${count === 1 ? "" : "s"}`, report);
  } finally {
    for (const router of routers) await router[Symbol.asyncDispose]();
    for (const agent of agents) await agent[Symbol.asyncDispose]();
    await bus.drain();
  }
}

const LOADS: Readonly<Record<string, Arrivals>> = {
  "floor: chat 0.8×": { chat: 0.8 * CAPACITY },
  "chat 2×": { chat: 2 * CAPACITY },
  "chat 10×": { chat: 10 * CAPACITY },
  "chat 0.8×, media 2×": { chat: 0.8 * CAPACITY, media: 2 * CAPACITY },
};

async function measure(load: OpenLoad, agents: readonly SlotAgent[], name: string, report: Report): Promise<void> {
  const rounds = new Map<string, Outcome[][]>(Object.keys(LOADS).map((each) => [each, []]));
  const honest: number[] = [];
  const refusedBefore = agents.reduce((sum, { refused }) => sum + refused, 0);
  // The compiler warms up.
  await load.run({ chat: CAPACITY }, CALM_MS);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [what, arrivals] of Object.entries(LOADS)) {
      rounds.get(what)?.push(await load.run(arrivals, ROUND_MS));
      await pause(CALM_MS);
    }
    honest.push(await honesty(load));
  }
  const floor = (rounds.get("floor: chat 0.8×") ?? []).map((outcomes) => servedPerSecond(outcomes, "chat"));
  for (const [what, each] of rounds)
    for (const queue of Object.keys(LOADS[what] ?? {})) report.note(describe(`${name}, ${what}`, queue, each, floor));
  const again = honest.map((share) => `${Math.round(share * 100)} %`).join(", ");
  report.note(
    `${name}, a burst of 10× for 2 s: of those sent away, served when they came back at the time told: ${again}`,
  );
  const refused = agents.reduce((sum, { refused: each }) => sum + each, 0) - refusedBefore;
  report.note(`${name}: nodes refused ${refused} dispatches because they were full`);
}

/** Share of the callers sent away by a burst who are served when they come back once, at the time they were told. */
async function honesty(load: OpenLoad): Promise<number> {
  const away = (await load.run({ chat: 10 * CAPACITY }, 2000)).filter(({ what }) => what === "rate_limited");
  // `run` waits for the last ending; who was told earlier comes back with the others' distance to it all the same.
  const again = await Promise.all(
    away.map(async ({ retryAfterMs = 0 }) => {
      await pause(retryAfterMs);
      return load.submit("chat");
    }),
  );
  return again.filter(({ what }) => what === "finished").length / Math.max(1, again.length);
}

function servedPerSecond(outcomes: readonly Outcome[], queue: string): number {
  return outcomes.filter((each) => each.queue === queue && each.what === "finished").length / (ROUND_MS / 1000);
}

function describe(name: string, queue: string, rounds: readonly Outcome[][], floor: readonly number[]): string {
  const of = (figure: (outcomes: readonly Outcome[], round: number) => number, digits = 0) => {
    const values = rounds.map((outcomes, round) =>
      figure(
        outcomes.filter((each) => each.queue === queue),
        round,
      ),
    );
    const [low, middle, high] = [0, 0.5, 1].map((share) => quantile(values, share).toFixed(digits));
    return `${middle} (${low} to ${high})`;
  };
  const served = (outcomes: readonly Outcome[]) => outcomes.filter(({ what }) => what === "finished");
  const latency = (share: number) =>
    of((outcomes) =>
      quantile(
        served(outcomes).map(({ ms }) => ms),
        share,
      ),
    );
  const share = (wanted: (what: string) => boolean) =>
    of((all) => (100 * all.filter(({ what }) => wanted(what)).length) / all.length, 1);
  const goodput = of((all, round) => servedPerSecond(all, queue) / (floor[round] ?? Number.NaN), 2);
  return (
    `${name}: ${queue} goodput ${of((all) => servedPerSecond(all, queue))}/s = ${goodput} of the floor's, ` +
    `p50 ${latency(0.5)} ms, p99 ${latency(0.99)} ms, sent away ${share((what) => what === "rate_limited")} %, ` +
    `other endings ${share((what) => what !== "rate_limited" && what !== "finished")} %`
  );
}
