import { expect, test } from "vitest";
import type { AuditEntry, DataClass, NodeRecord } from "../../bus-schemas/index.ts";
import { decideRecorded } from "../../router/policy/record-inputs.ts";
import { NOW_MS, fleetOf, nodeRecord, policyOf, routeRequest, seeded } from "../../test/kit/routing.ts";
import type { RouteRequest } from "../../router/policy/types.ts";
import { replay } from "./replay.ts";

const local = nodeRecord({ node_id: "local", layer: "L1" });
const cloud = nodeRecord({ node_id: "cloud", layer: "L2" });
const cloudFirst = policyOf({
  defaults: { max_latency_ms: 1500, retry_attempts: 2, fallback_order: ["L2", "L1"] },
});

function decided(
  jobId: string,
  dataClass: DataClass,
  {
    nodes = [local, cloud],
    nowMs = NOW_MS,
    ...more
  }: Partial<RouteRequest> & { nodes?: NodeRecord[]; nowMs?: number } = {},
): AuditEntry {
  const request = routeRequest({ jobId, dataClass, ...more });
  const fleet = fleetOf();
  for (const node of nodes) fleet.upsert(node, nowMs);
  const { decision, inputs } = decideRecorded(request, fleet, policyOf(), nowMs, seeded(jobId.length), "0.1.0");
  return {
    sequence: 1,
    stream_sequence: 1,
    job_id: jobId,
    id: "e",
    source: "router/r1",
    type: "job_decided",
    time: new Date(nowMs).toISOString(),
    security_level: dataClass,
    traceparent: null,
    data: { job_id: jobId, attempt: 1, decision, sizes: { request_bytes: 40, prompt_tokens_estimate: 12 }, inputs },
  };
}

test("a job that the candidate sends elsewhere, or refuses, is told with its reason; the rest stays", () => {
  const forbidden = policyOf(
    { defaults: cloudFirst.routing.defaults },
    {},
    { security_policy: { cloud_forbidden: true } },
  );
  const [p2, p0] = replay([decided("job-0000001", "P2"), decided("job-0000002", "P0")], cloudFirst, forbidden);
  expect(p2).toMatchObject({ changed: true, current: { node_id: "cloud" }, candidate: { node_id: "local" } });
  expect(p0).toMatchObject({ changed: false, current: { node_id: "local" }, candidate: { node_id: "local" } });
  const [none] = replay([decided("job-0000001", "P2", { nodes: [cloud] })], cloudFirst, forbidden);
  expect(none?.candidate).toMatchObject({
    outcome: "refused",
    reason: expect.stringContaining("data_class 1") as string,
  });
});

test("the same policy changes nothing, however large the fleet, and the nodes are those of then", () => {
  const nodes = Array.from({ length: 40 }, (_, i) => nodeRecord({ node_id: `n${i}` }));
  const entries = Array.from({ length: 50 }, (_, i) => decided(`job-${"x".repeat(4 + i)}`, "P2", { nodes }));
  const jobs = replay(entries, policyOf(), policyOf());
  expect(jobs.filter(({ changed }) => changed)).toEqual([]);
  const chosen = entries.map(({ data }) => (data as { decision: { node_id: string } }).decision.node_id);
  expect(jobs.map(({ current }) => current.node_id)).toEqual(chosen);
  expect(new Set(chosen).size).toBeGreaterThan(5);
});

test("a queue that the candidate drops refuses its jobs by name", () => {
  const { media: _, ...queues } = policyOf().routing.task_queues;
  const [job] = replay(
    [decided("job-0000001", "P2", { taskType: "media", batch: true })],
    policyOf(),
    policyOf({ task_queues: queues }),
  );
  expect(job?.changed).toBe(true);
  expect(job?.candidate.reason).toContain('no queue "media"');
});

test("the wanted time of a job that named none is the candidate's", () => {
  const hurried = { defaults: { ...policyOf().routing.defaults, max_latency_ms: 10 } };
  const reasons = (sloMs: number) =>
    replay([decided("job-0000001", "P2", { sloMs })], policyOf(), policyOf(hurried)).map(({ current, candidate }) => [
      current.reason,
      candidate.reason,
    ])[0];
  const [before, after] = reasons(1500) ?? [];
  expect(after).not.toBe(before);
  const [same, still] = reasons(999) ?? [];
  expect(still).toBe(same);
});

test("the hour is the job's own: the working day of then decides", () => {
  const hours = { work_hours: "local_only" as const, off_hours: "local_preferred" as const };
  const candidate = policyOf({}, {}, { routing_strategy: hours });
  const at = (time: string) => ({ nodes: [cloud], nowMs: Date.parse(time), deadlineMs: Date.parse(time) + 60_000 });
  const noon = decided("job-0000001", "P2", at("2026-11-23T12:00:00Z"));
  const night = decided("job-0000002", "P2", at("2026-11-23T23:00:00Z"));
  const jobs = replay([noon, night], policyOf(), candidate);
  expect(jobs.map(({ candidate: fate }) => fate.outcome)).toEqual(["refused", "routed"]);
});

test("an entry that is no decision, or holds no inputs, is passed over", () => {
  const entry = decided("job-0000001", "P2");
  const without = { ...entry, data: { ...(entry.data as object), inputs: null } };
  const later = { ...entry, data: { ...(entry.data as object), inputs: { version: 2 } } };
  expect(replay([{ ...entry, data: { job_id: 1 } }, without, later], policyOf(), policyOf())).toEqual([]);
});
