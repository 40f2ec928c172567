import fc from "fast-check";
import { expect, test } from "vitest";
import type { NodeRecordInput, ServedModel } from "../../bus-schemas/index.ts";
import {
  anyRecord,
  anyRequest,
  fleetOf,
  lookedAt,
  nodeRecord,
  policyOf,
  routeRequest,
  servedModel,
} from "../../test/kit/routing.ts";
import { jobsOn, predict } from "./predict.ts";

const rates = { prefill_tokens_per_second: 1000, ms_per_token: 10 };
const job = routeRequest({ promptTokens: 500, expectedOutputTokens: 100 });

function times(node: Partial<NodeRecordInput> = {}, served: Partial<ServedModel> = {}, view: object = {}) {
  const look = lookedAt(fleetOf(nodeRecord({ served_models: [servedModel({ ...rates, ...served })], ...node })), job);
  Object.assign(look[0].view, view);
  return predict(...look);
}

test("an idle node reads the prompt, then writes: way + prompt / prefill rate, + output × time per token", () => {
  expect(times()).toEqual({ ttftMs: 501, totalMs: 1501 });
  expect(times({}, {}, { rttMs: 20 })).toEqual({ ttftMs: 520, totalMs: 1520 });
});

test("prompts that wait to be read come first", () => {
  expect(times({ load: { slots: 4, pending_prefill_tokens: 2000 } }).ttftMs).toBe(2501);
});

test("a job waits for a slot: max(0, run − slots + 1)/slots × mean service time", () => {
  const performance = { avg_latency_ms: 800 };
  const at = (running: number, queued: number) => times({ performance, load: { slots: 4, running, queued } }).ttftMs;
  expect(at(3, 0)).toBe(501);
  expect(at(4, 0)).toBe(501 + 200);
  expect(at(4, 3)).toBe(501 + 800);
});

test("without a measured mean, the service time is the job's own", () => {
  expect(times({ load: { slots: 1, running: 1 } }).ttftMs).toBe(501 + 1500);
});

test("jobs that were sent since the heartbeat count once for each live router", () => {
  const fleet = fleetOf(nodeRecord({ load: { slots: 4, running: 1, queued: 2 } }));
  fleet.liveRouters = 3;
  const view = fleet.view("n1");
  if (view === undefined) throw new Error("not there");
  view.dispatchedSinceHeartbeat = 2;
  expect(jobsOn(view, fleet)).toBe(1 + 2 + 3 * 2);
});

test("what was observed corrects the whole", () => {
  expect(times({}, {}, { correction: 2 })).toEqual({ ttftMs: 1002, totalMs: 3002 });
});

test("a model that is not in memory is read from disk first", () => {
  expect(times({}, { loaded: false, size_gb: 4 }).ttftMs).toBe(8501);
  expect(times({}, { loaded: null, size_gb: 4 }).ttftMs).toBe(501);
});

test("the node's own tokens per second, as SEED gives them, stand in for the model's", () => {
  const { ttftMs, totalMs } = times({ performance: { tokens_per_second: 50 } }, { ms_per_token: null });
  expect(totalMs - ttftMs).toBe(2000);
});

test("without any rates the layer's are assumed, the cloud's the fastest", () => {
  const unknown = { ms_per_token: null, prefill_tokens_per_second: null };
  const [l0, l1, l2] = (["L0", "L1", "L2"] as const).map((layer) => times({ layer }, unknown).ttftMs);
  expect([l0, l1, l2]).toEqual([l0, l1, l2].toSorted((a, b) => (b ?? 0) - (a ?? 0)));
});

test("sick numbers give a time all the same", () => {
  fc.assert(
    fc.property(anyRecord, anyRequest, (record, request) => {
      if (record.models.length + record.served_models.length === 0) return;
      const { ttftMs, totalMs } = predict(...lookedAt(fleetOf(record), request, policyOf()));
      expect(Number.isFinite(totalMs)).toBe(true);
      expect(ttftMs).toBeGreaterThanOrEqual(0);
      expect(totalMs).toBeGreaterThanOrEqual(ttftMs);
    }),
  );
});
