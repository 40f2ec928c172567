import { expect, test } from "vitest";
import { decide } from "./decide.ts";
import { ECHO, NOW_MS, fleetOf, nodeRecord, policyOf, routeRequest, servedModel } from "../../test/kit/routing.ts";

/** NOW_MS is Friday 2027-01-15, 08:00 UTC: outside SEED's working hours. */
const OFF = { days: ["sat" as const] };
const ON = { days: ["fri" as const], from: "00:00", to: "24:00" };
const seedHours = (work_schedule: object) => ({
  routing_strategy: { work_hours: "local_preferred" as const, off_hours: "cloud_spillover" as const, work_schedule },
});

/** Reads 10 tokens a second: a prompt of 100 tokens takes 10 s. */
const slow = servedModel({ prefill_tokens_per_second: 10 });
const slowLocal = nodeRecord({ node_id: "slow", layer: "L0", served_models: [slow] });
const server = nodeRecord({ node_id: "server", layer: "L1" });
const cloud = nodeRecord({ node_id: "cloud", layer: "L2" });
const going = (records: ReturnType<typeof nodeRecord>[], policy = policyOf(), request = routeRequest()) =>
  decide(request, fleetOf(...records), policy, NOW_MS, () => 0.5);

test("cloud_forbidden keeps every class off L2, and says so", () => {
  const forbidden = policyOf({}, {}, { security_policy: { cloud_forbidden: true } });
  for (const dataClass of ["P0", "P1", "P2"] as const) {
    const request = routeRequest({ dataClass, anonymised: true });
    const decision = going([cloud], forbidden, request);
    expect(decision).toMatchObject({ outcome: "refused", rejected_by: { data_class: 1 } });
  }
  const [candidate] = going([cloud], forbidden).candidates;
  expect(candidate?.rejected?.reason).toBe("the policy forbids the cloud (cloud_forbidden)");
  expect(going([cloud]).node_id).toBe("cloud");
  expect(going([cloud, server], forbidden).node_id).toBe("server");
});

test("in working hours a slow local node is taken before the cloud; off hours the job spills over and the table says why", () => {
  expect(going([slowLocal, cloud], policyOf({}, {}, seedHours(ON))).node_id).toBe("slow");
  const spilled = going([slowLocal, cloud], policyOf({}, {}, seedHours(OFF)));
  expect(spilled.node_id).toBe("cloud");
  expect(spilled.candidates.map(({ rejected }) => rejected?.reason)).toEqual([
    "would need 10001 ms, 1500 ms are wanted",
    undefined,
  ]);
  expect(spilled.alternatives.map(({ node_id }) => node_id)).toEqual(["slow"]);
});

test("what another local layer does in time does not spill over", () => {
  expect(going([slowLocal, server, cloud], policyOf({}, {}, seedHours(OFF))).node_id).toBe("server");
});

test("where no layer would be in time the first one runs the job after all", () => {
  const slowCloud = nodeRecord({ node_id: "cloud", layer: "L2", served_models: [slow] });
  const decision = going([slowLocal, slowCloud], policyOf({}, {}, seedHours(OFF)));
  expect(decision.node_id).toBe("slow");
  expect(decision.rejected_by).toEqual({});
});

test("spilling over moves no P0 and no plain P1 job", () => {
  for (const dataClass of ["P0", "P1"] as const) {
    const decision = going([slowLocal, cloud], policyOf({}, {}, seedHours(OFF)), routeRequest({ dataClass }));
    expect(decision.node_id).toBe("slow");
  }
});

test("a diagnostic echo is no reason not to spill over, and none to", () => {
  const echo = nodeRecord({ node_id: "echo", layer: "L0", ...ECHO });
  expect(going([echo, cloud], policyOf({}, {}, seedHours(OFF))).node_id).toBe("cloud");
});

test("local_only hours keep jobs off L2 and say that it is the time", () => {
  const policy = policyOf({}, {}, { routing_strategy: { work_hours: "local_only", off_hours: "local_only" } });
  const decision = going([cloud], policy);
  expect(decision.outcome).toBe("refused");
  expect(decision.candidates[0]?.rejected).toEqual({
    filter: "layer",
    reason: "the policy keeps jobs off L2 at this time (local_only)",
  });
});

test("a task type's own weights decide its jobs and no others", () => {
  const cheap = nodeRecord({ node_id: "cheap", cost_factor: 0, served_models: [slow] });
  const dear = nodeRecord({ node_id: "dear", cost_factor: 10 });
  const [byCost, byTime] = [
    { security: 0, capability: 0, latency: 0, cost: 1 },
    { security: 0, capability: 0, latency: 1, cost: 0 },
  ];
  const policy = policyOf({ scoring_weights: byTime, scoring_weights_by_task: { rag: byCost } });
  expect(going([cheap, dear], policy, routeRequest({ taskType: "rag" })).node_id).toBe("cheap");
  expect(going([cheap, dear], policy, routeRequest({ taskType: "chat" })).node_id).toBe("dear");
  const [first] = going([cheap], policy, routeRequest({ taskType: "rag" })).candidates;
  expect(first?.score?.total).toBe(first?.score?.cost);
});
