import { expect, test } from "vitest";
import { RoutingConfig } from "../../bus-schemas/index.ts";
import { compilePolicy } from "../../router/policy/policy.ts";
import { parseFleetFile } from "./fleet-file.ts";
import { offer, runStrategy, type Plan } from "./plan.ts";
import { jsonReport, textReport } from "./report.ts";
import { STRATEGY_NAMES } from "./strategies.ts";
import { cdfSvg, utilisationSvg } from "./svg.ts";
import { simulate } from "./world.ts";

const FLEET = parseFleetFile(
  `title: Small & mixed
nodes:
  - { name: pc, layer: L0, count: 4, slots: 1, watts: { idle: 10, busy: 100 },
      models: [{ name: m-7b, prefill_tokens_per_second: 1500, ms_per_token: 30 }] }
  - { name: server, layer: L1, count: 2, slots: 4, prefix_cache_tokens: 100000, watts: { idle: 100, busy: 900 },
      models: [{ name: m-7b, prefill_tokens_per_second: 6000, ms_per_token: 15 }] }
  - { name: cloud, layer: L2, count: 1, slots: 50, network_ms: 100,
      models: [{ name: m-7b, prefill_tokens_per_second: 9000, ms_per_token: 10 }] }
jobs:
  - { share: 1, security_level: P0 }
  - { share: 1, security_level: P1 }
  - { share: 2, security_level: P2 }
`,
  "test",
);
const SPILLS = { deployment: { routing_strategy: { work_hours: "cloud_spillover", off_hours: "cloud_spillover" } } };

function plan(overrides: Partial<Plan> = {}): Plan {
  const base = {
    routers: 3,
    heartbeatMs: 1000,
    timeoutMs: 60_000,
    sessions: true,
    seed: 1,
    load: 0.9,
    trace: undefined,
  };
  const policy = compilePolicy(RoutingConfig.parse(SPILLS), "test@1");
  return { fleet: FLEET, policy, length: { jobs: 600 }, classes: undefined, ...base, ...overrides };
}

function play(strategy: (typeof STRATEGY_NAMES)[number], overrides: Partial<Plan> = {}) {
  const all = plan(overrides);
  const { fleet, arrivals } = offer(all);
  return simulate({ ...all, fleet, arrivals, strategy });
}

test.each(STRATEGY_NAMES)(
  "with %s every job ends once, no node runs more than its seats, P0 and P1 stay local",
  (strategy) => {
    for (const load of [0.5, 3]) {
      const { jobs, nodes } = play(strategy, { load, length: { jobs: 400 } });
      expect(jobs.filter(({ ending }) => ending === undefined)).toEqual([]);
      for (const node of nodes) {
        expect(node.mostRunning).toBeLessThanOrEqual(node.group.slots);
        expect(node.mostTaken).toBeLessThanOrEqual(node.group.slots * 5);
      }
      const abroad = jobs.filter(({ ending }) => ending?.layer === "L2");
      expect(abroad.filter(({ dataClass }) => dataClass !== "P2")).toEqual([]);
      // Three times what the company's own machines can do spills over, where the class allows it.
      expect(load < 1 || abroad.length > 0).toBe(true);
      for (const { ending } of jobs) {
        expect(ending?.totalMs).toBeGreaterThanOrEqual(0);
        expect(ending?.ttftMs ?? 0).toBeLessThanOrEqual(ending?.totalMs ?? 0);
        expect(ending?.status === "refused").toBe(typeof ending?.code === "string");
      }
    }
  },
);

test("more P0 jobs than the local machines can take are refused with a code or expire, and none goes to the cloud", () => {
  const { jobs, naks } = play("mesh", { load: 8, classes: { P0: 1, P1: 0, P2: 0 }, timeoutMs: 20_000 });
  expect(new Set(jobs.map(({ dataClass }) => dataClass))).toEqual(new Set(["P0"]));
  expect(jobs.some(({ ending }) => ending?.layer === "L2")).toBe(false);
  const codes = new Set(jobs.flatMap(({ ending }) => ending?.code ?? []));
  expect(codes.size).toBeGreaterThan(0);
  for (const code of [...codes, ...Object.keys(naks)])
    expect(["all_busy", "deadline_exceeded", "no_node"]).toContain(code);
});

test("a job that is not done in its time is expired at that time, and no sooner", () => {
  const { jobs } = play("random", { timeoutMs: 3000 });
  const expired = jobs.filter(({ ending }) => ending?.status === "expired");
  expect(expired.length).toBeGreaterThan(0);
  for (const { ending } of expired) expect(ending?.totalMs).toBeGreaterThanOrEqual(3000);
});

test("the oracle is no worse than random choice, on average, for any seed", () => {
  for (const seed of [1, 2, 3, 4]) {
    const all = plan({ seed, length: { jobs: 500 } });
    const offered = offer(all);
    const mean = (strategy: "oracle" | "random") => runStrategy(all, offered, strategy).summary.total_ms.mean ?? 0;
    expect(mean("oracle")).toBeLessThan(mean("random"));
  }
});

test("the same seed gives the same report and pictures byte for byte, another seed others", () => {
  const written = (seed: number) => {
    const all = plan({ seed, length: { jobs: 300 } });
    const offered = offer(all);
    const runs = STRATEGY_NAMES.map((strategy) => runStrategy(all, offered, strategy));
    const json = JSON.stringify(jsonReport(all, offered, runs));
    return [json, textReport(all, offered, runs), cdfSvg("a < b & c", runs), utilisationSvg("busy", runs)];
  };
  expect(written(7)).toEqual(written(7));
  expect(written(8)[0]).not.toBe(written(7)[0]);
  const [, text = "", cdf = "", busy = ""] = written(7);
  expect(text).toContain("Small & mixed: 7 nodes, 3 routers, heartbeats of 1 s");
  for (const svg of [cdf, busy]) {
    expect(svg).toMatch(/^<svg [^>]*role="img"/);
    expect(svg).toContain("prefers-color-scheme:dark");
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
  }
  expect(cdf).toContain("a &#60; b &#38; c");
  expect(busy.match(/<circle/g)).toHaveLength(7 * STRATEGY_NAMES.length);
});

test("a load that only the cloud could serve, or of too many jobs, is refused", () => {
  const jobs = [{ share: 1, security_level: "P2" as const, model: "m-70b" }];
  expect(() => offer(plan({ fleet: { ...FLEET, jobs } }))).toThrow("no node of L0 or L1 serves");
  expect(() => offer(plan({ length: { minutes: 90_000 }, load: 20 }))).toThrow("are more than");
});

test("as many jobs come in a time as the load says", () => {
  const { arrivals, jobsPerSecond } = offer(plan({ length: { minutes: 10 } }));
  expect(arrivals).toHaveLength(Math.round(600 * jobsPerSecond));
  expect((arrivals.at(-1)?.atMs ?? 0) / 600_000).toBeCloseTo(1, 1);
});
