import { expect, test } from "vitest";
import { demoReport } from "./report.ts";
import { summarise } from "./summary.ts";
import type { DemoJob } from "./traffic.ts";

const score = (total: number) => ({ total, security: 1, capability: 0.5, latency: 0.8, cost: 0.6, predicted_ms: 100 });
const job = (more: Partial<DemoJob> = {}): DemoJob => ({
  kind: "chat P1",
  job_id: "job-00000001",
  status: "finished",
  node_id: "gpu-1",
  layer: "L1",
  model: "qwen",
  diagnostic: false,
  attempts: 1,
  ttft_ms: 100,
  total_ms: 900,
  tokens: 20,
  tokens_per_second: 40,
  energy_wh: 0.01,
  score: score(0.8),
  reason: "scores best",
  error: null,
  ...more,
});

test("jobs of one kind, node and model are one line: medians, the energy of all, the mean of the scores", () => {
  const { served, jobs, finished, energy_wh } = summarise([
    job({ ttft_ms: 100, energy_wh: 0.01 }),
    job({ ttft_ms: 300, energy_wh: 0.03, score: score(0.6) }),
    job({ ttft_ms: 110, energy_wh: null }),
    job({ node_id: "gpu-2", energy_wh: null, score: null }),
    job({ kind: "embedding P2", ttft_ms: null, tokens_per_second: null, tokens: null }),
  ]);
  expect([jobs, finished]).toEqual([5, 5]);
  expect(energy_wh).toBeCloseTo(0.05);
  expect(served.map(({ kind, node_id, jobs: count }) => `${kind} ${node_id} ${count}`)).toEqual([
    "chat P1 gpu-1 3",
    "chat P1 gpu-2 1",
    "embedding P2 gpu-1 1",
  ]);
  expect(served[0]).toMatchObject({ ttft_ms_median: 110, tokens_per_second_median: 40 });
  expect(served[0]?.energy_wh).toBeCloseTo(0.04);
  expect(served[0]?.score?.total).toBeCloseTo(0.7333, 3);
  expect(served[1]).toMatchObject({ energy_wh: null, score: null });
  expect(served[2]).toMatchObject({ ttft_ms_median: null, tokens_per_second_median: null });
});

test("an even number of values has its median in the middle of the two", () => {
  expect(summarise([job({ ttft_ms: 100 }), job({ ttft_ms: 200 })]).served[0]?.ttft_ms_median).toBe(150);
});

test("what did not finish is a failure, but not what the person stopped", () => {
  const refused = job({ status: "refused", node_id: null, error: { code: "all_busy", message: "every node is busy" } });
  const summary = summarise([job(), refused, job({ status: "cancelled" }), job({ status: "expired" })]);
  expect([summary.jobs, summary.finished, summary.failures.length]).toEqual([3, 1, 2]);
  const text = demoReport(summary, [{ name: "chat P0", reason: "no node may hold P0" }]);
  expect(text).toContain("1 of 3 jobs finished");
  expect(text).toContain("! chat P1: refused: every node is busy (job job-00000001)");
  expect(text).toContain("! chat P1: expired on gpu-1: no reason");
  expect(text).toContain("- not sent, chat P0: no node may hold P0");
});

test("the table has the terms of the score, and what nobody knows is no zero", () => {
  const text = demoReport(summarise([job({ energy_wh: null, score: null, ttft_ms: null })]), []);
  expect(text.split("\n")[1]).toMatch(/chat P1 +gpu-1 +L1 +qwen +1 +- +40.0 +\? +\?$/);
  expect(text).toContain("energy: no node knows its power");
  expect(demoReport(summarise([job()]), []).split("\n")[1]).toMatch(
    /100 ms +40\.0 +0\.01 Wh +0\.80 +1\.00 +0\.50 +0\.80 +0\.60$/,
  );
  expect(demoReport(summarise([job({ diagnostic: true })]), [])).toContain("(echo) = the diagnostic runtime");
});

test("nothing at all is no table", () => {
  expect(demoReport(summarise([]), [])).toMatch(/^0 of 0 jobs finished/);
});
