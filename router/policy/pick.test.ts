import { expect, test } from "vitest";
import type { NodeRecord } from "../../bus-schemas/index.ts";
import { fleetOf, NOW_MS, nodeRecord, policyOf, routeRequest, seeded, servedModel } from "../../test/kit/routing.ts";
import { pickNode } from "./pick.ts";
import type { RouteRequest } from "./types.ts";

const JOBS = 4000;

/** How often each node is picked for many jobs. */
function shares(records: readonly NodeRecord[], request: Partial<RouteRequest> = {}): Map<string, number> {
  const fleet = fleetOf(...records);
  const random = seeded(3);
  const counts = new Map<string, number>();
  for (let i = 0; i < JOBS; i++) {
    const pick = pickNode(routeRequest({ ...request, jobId: `job-${i}-abcd` }), fleet, policyOf(), NOW_MS, random);
    const id = pick?.option.view.record.node_id ?? "nobody";
    counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return counts;
}

const named = (count: number, overrides: (i: number) => Partial<NodeRecord> = () => ({})) =>
  Array.from({ length: count }, (_, i) => nodeRecord({ node_id: `n${i}`, ...overrides(i) }));

test("eight or fewer are all scored: the best one always wins", () => {
  const counts = shares(named(8, (i) => ({ cost_factor: i })));
  expect(counts).toEqual(new Map([["n0", JOBS]]));
});

test("equal scores are settled by job and node, alike for all nodes and in whatever order they came", () => {
  const counts = shares(named(3));
  expect(counts.size).toBe(3);
  for (const count of counts.values()) expect(Math.abs(count / JOBS - 1 / 3)).toBeLessThan(0.05);
  for (const jobId of ["job-00000001", "job-00000002", "job-00000003"]) {
    const [one, other] = [named(3), named(3).toReversed()].map((nodes) =>
      pickNode(routeRequest({ jobId }), fleetOf(...nodes), policyOf(), NOW_MS, seeded(1)),
    );
    expect(one?.option.view.record.node_id).toBe(other?.option.view.record.node_id);
  }
});

test("among more, eight are drawn and the best of them wins", () => {
  for (const size of [12, 60]) {
    const counts = shares(named(size, (i) => ({ cost_factor: i })));
    // Of eight drawn without replacement none can be among the seven worst and win.
    for (let i = size - 7; i < size; i++) expect(counts.has(`n${i}`)).toBe(false);
    // The best of eight uniform draws out of n is the best of all with probability 8/n.
    expect((counts.get("n0") ?? 0) / JOBS).toBeGreaterThan(7 / size);
    expect((counts.get("n0") ?? 0) / JOBS).toBeLessThan(9 / size);
  }
});

test("nodes are drawn by free slots, equal scores fall to each alike", () => {
  for (const size of [24, 60]) {
    const load = { running: 0, queued: 0, queue_limit: 4, pending_prefill_tokens: 0 };
    const half = (i: number) => ({ load: { ...load, slots: i % 2 === 0 ? 30 : 10 } });
    const counts = shares(named(size, half));
    const large = [...counts]
      .filter(([id]) => Number(id.slice(1)) % 2 === 0)
      .reduce((sum, [, count]) => sum + count, 0);
    // Three quarters of the free slots are on the even nodes; without replacement less of the draws.
    expect(large / JOBS).toBeGreaterThan(0.62);
    expect(large / JOBS).toBeLessThan(0.77);
  }
});

test("what was sent since the heartbeat counts, so that one heartbeat's interval does not flood a node", () => {
  const fleet = fleetOf(...named(40));
  for (let i = 0; i < 160; i++) {
    const pick = pickNode(routeRequest({ jobId: `job-${i}-abcd` }), fleet, policyOf(), NOW_MS, seeded(i));
    if (pick !== undefined) pick.option.view.dispatchedSinceHeartbeat++;
  }
  const most = Math.max(...[...fleet.views].map((view) => view.dispatchedSinceHeartbeat));
  expect(most).toBeLessThanOrEqual(6);
});

test("a node to which its free slots' worth was sent is hardly drawn, whatever its score", () => {
  const byCost = policyOf({ scoring_weights: { security: 0, capability: 0, latency: 0, cost: 1 } });
  for (const size of [40, 60]) {
    const fleet = fleetOf(...named(size, (i) => ({ cost_factor: i % 2 })));
    // The cheap half has had four jobs each for its four slots since it was heard.
    for (const view of fleet.views) view.dispatchedSinceHeartbeat = view.record.cost_factor === 0 ? 4 : 0;
    const random = seeded(5);
    const cheap = Array.from({ length: 1000 }, () => pickNode(routeRequest(), fleet, byCost, NOW_MS, random)).filter(
      (pick) => pick?.option.view.record.cost_factor === 0,
    );
    // Its weight is 1 to 80, so each of the eight draws hits it about once in 70 times.
    expect(cheap.length).toBeLessThan(180);
  }
});

test("a few fit nodes are found among many that are not", () => {
  const counts = shares(named(300, (i) => ({ status: i === 250 ? "healthy" : "degraded" })));
  expect(counts).toEqual(new Map([["n250", JOBS]]));
});

test("when draws from a large layer find nobody fit, the layer is looked through", () => {
  const small = [servedModel({ context_length: 10 })];
  const fleet = fleetOf(...named(300, (i) => (i === 250 ? {} : { served_models: small })));
  for (let seed = 0; seed < 20; seed++)
    expect(pickNode(routeRequest(), fleet, policyOf(), NOW_MS, seeded(seed))?.option.view.record.node_id).toBe("n250");
});

test("a node's best fitting model is taken, and no other node's", () => {
  const served_models = ["gemma3-270m", "llama3.1-70b", "qwen2-7b"].map((name) => servedModel({ name }));
  const fleet = fleetOf(...named(40, () => ({ served_models })));
  const pick = pickNode(routeRequest(), fleet, policyOf(), NOW_MS, seeded(1));
  expect(pick?.option.served.name).toBe("llama3.1-70b");
  expect(new Set(pick?.drawn.map((option) => option.view.record.node_id)).size).toBe(8);
});

test("a session keeps its home while the home is fit and not much slower than another", () => {
  for (const size of [6, 12, 60]) {
    const counts = shares(named(size), { sessionId: "session-1" });
    expect(counts.size).toBe(1);
    const [home = ""] = counts.keys();
    const without = named(size).filter((record) => record.node_id !== home);
    const second = shares(without, { sessionId: "session-1" });
    expect(second.size).toBe(1);
    const slower = (factor: number) => {
      const prefill_tokens_per_second = 100 / factor;
      const slow = nodeRecord({ node_id: home, served_models: [servedModel({ prefill_tokens_per_second })] });
      const quick = { served_models: [servedModel({ prefill_tokens_per_second: 100 })] };
      const rest = without.map((record) => nodeRecord({ ...quick, node_id: record.node_id }));
      return shares([slow, ...rest], { sessionId: "session-1" }).get(home);
    };
    expect(slower(1.3)).toBe(JOBS);
    expect(slower(3)).toBeUndefined();
  }
});
