import { expect, test } from "vitest";
import type { AuditEntry, DataClass } from "../../bus-schemas/index.ts";
import { decide } from "../../router/policy/decide.ts";
import { NOW_MS, fleetOf, nodeRecord, policyOf, routeRequest } from "../../test/kit/routing.ts";
import { replay } from "./replay.ts";

const local = nodeRecord({ node_id: "local", layer: "L1" });
const cloud = nodeRecord({ node_id: "cloud", layer: "L2" });
const cloudFirst = policyOf({
  defaults: { max_latency_ms: 1500, retry_attempts: 2, fallback_order: ["L2", "L1"] },
});

function decided(jobId: string, dataClass: DataClass, taskType = "chat"): AuditEntry {
  const request = routeRequest({ jobId, dataClass, taskType });
  const decision = decide(request, fleetOf(local), policyOf(), NOW_MS, () => 0.5);
  return {
    sequence: 1,
    stream_sequence: 1,
    job_id: jobId,
    id: "e",
    source: "router/r1",
    type: "job_decided",
    time: "2026-11-23T12:00:00Z",
    security_level: dataClass,
    traceparent: null,
    data: { job_id: jobId, attempt: 1, decision, sizes: { request_bytes: 40, prompt_tokens_estimate: 12 } },
  };
}

test("a job that the candidate sends elsewhere, or refuses, is told with its reason; the rest stays", () => {
  const forbidden = policyOf(
    { defaults: cloudFirst.routing.defaults },
    {},
    { security_policy: { cloud_forbidden: true } },
  );
  const [p2, p0] = replay(
    [decided("job-0000001", "P2"), decided("job-0000002", "P0")],
    [local, cloud],
    cloudFirst,
    forbidden,
  );
  expect(p2).toMatchObject({ changed: true, current: { node_id: "cloud" }, candidate: { node_id: "local" } });
  expect(p0).toMatchObject({ changed: false, current: { node_id: "local" }, candidate: { node_id: "local" } });
  const [none] = replay([decided("job-0000001", "P2")], [cloud], cloudFirst, forbidden);
  expect(none?.candidate).toMatchObject({
    outcome: "refused",
    reason: expect.stringContaining("data_class 1") as string,
  });
});

test("the same policy changes nothing, however large the fleet", () => {
  const records = Array.from({ length: 40 }, (_, i) => nodeRecord({ node_id: `n${i}` }));
  const entries = Array.from({ length: 50 }, (_, i) => decided(`job-${1000 + i}-x`, "P2"));
  const jobs = replay(entries, records, policyOf(), policyOf());
  expect(jobs.filter(({ changed }) => changed)).toEqual([]);
  expect(new Set(jobs.map(({ current }) => current.node_id)).size).toBeGreaterThan(5);
});

test("a queue that the candidate drops refuses its jobs by name", () => {
  const { media: _, ...queues } = policyOf().routing.task_queues;
  const [job] = replay([decided("job-0000001", "P2", "media")], [local], policyOf(), policyOf({ task_queues: queues }));
  expect(job?.changed).toBe(true);
  expect(job?.candidate.reason).toContain('no queue "media"');
});

test("the hour is the job's own: the working day of then decides", () => {
  const hours = { work_hours: "local_only" as const, off_hours: "local_preferred" as const };
  const candidate = policyOf({}, {}, { routing_strategy: hours });
  const noon = decided("job-0000001", "P2");
  const night = { ...decided("job-0000002", "P2"), time: "2026-11-23T23:00:00Z" };
  const jobs = replay([noon, night], [cloud], policyOf(), candidate);
  expect(jobs.map(({ candidate: fate }) => fate.outcome)).toEqual(["refused", "routed"]);
});

test("an entry that is no decision is passed over", () => {
  expect(replay([{ ...decided("job-0000001", "P2"), data: { job_id: 1 } }], [local], policyOf(), policyOf())).toEqual(
    [],
  );
});
