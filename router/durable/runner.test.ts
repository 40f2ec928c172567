import { expect, test, vi } from "vitest";
import { JobResult, MeshError, type JobResultInput } from "../../bus-schemas/index.ts";
import { RECORD, durableParts } from "../../test/kit/durable-parts.ts";
import { nodeRecord } from "../../test/kit/router-parts.ts";
import { MAX_LOSSES } from "./runner.ts";

const about = { job_id: RECORD.job_id, node_id: "n1" };
const result = (rest: Partial<JobResultInput> = {}) => ({
  type: "result" as const,
  result: JobResult.parse({ ...about, status: "finished", message: { role: "assistant", content: "done" }, ...rest }),
  taken: vi.fn<() => void>(),
});
const failed = (error: MeshError) => result({ status: "failed", message: null, error: error.toWire() });
const lost = { type: "lost" as const, error: new MeshError("node_lost", "gone") };

test("a run's result is committed under its fencing token, recorded, and then the message leaves the queue", async () => {
  const kit = await durableParts();
  kit.join(nodeRecord("n1"));
  const end = result();
  kit.outcomes.push(end);
  await kit.run();
  const [order] = kit.orders;
  expect(kit.state()?.record).toMatchObject({ state: "finished", fence: order?.fence, attempts: 1, node_id: "n1" });
  expect(kit.store.results.get(`${RECORD.job_id} ${order?.fence}`)?.message?.content).toBe("done");
  expect(kit.events.of("job_decided")).toHaveLength(1);
  expect(kit.events.of("job_ended")).toMatchObject([{ status: "finished", node_id: "n1" }]);
  expect([kit.said.acks, end.taken.mock.calls.length]).toEqual([1, 1]);
});

test("what another router wrote meanwhile is not overwritten, and the message stays that router's", async () => {
  const kit = await durableParts();
  kit.join(nodeRecord("n1"));
  const end = result();
  kit.outcomes.push(async ({ fence }) => {
    const taken = kit.state()?.record ?? RECORD;
    await kit.store.write({ ...taken, holder: "_INBOX.other.holds" }, fence);
    return end;
  });
  await kit.run();
  expect(kit.state()?.record).toMatchObject({ state: "running", holder: "_INBOX.other.holds" });
  expect(kit.events.of("job_ended")).toEqual([]);
  expect([kit.said.acks, end.taken.mock.calls.length]).toEqual([0, 0]);
});

test("a job that somebody else has ended leaves the queue, and its ending is recorded under the same id", async () => {
  const kit = await durableParts();
  kit.join(nodeRecord("n1"));
  kit.outcomes.push(async ({ fence }) => {
    await kit.store.write({ ...(kit.state()?.record ?? RECORD), state: "cancelled" }, fence);
    return { type: "gone" };
  });
  await kit.run();
  expect(kit.said.acks).toBe(1);
  expect(kit.events.of("job_ended")).toMatchObject([{ status: "cancelled" }]);
});

test("what may pass is tried again, retry_attempts times, and then the job is dead", async () => {
  const kit = await durableParts();
  kit.join(nodeRecord("n1"), nodeRecord("n2"), nodeRecord("n3"));
  const ends = [1, 2, 3].map(() => failed(new MeshError("runtime_failed", "no")));
  kit.outcomes.push(...ends);
  await kit.run();
  expect(kit.state()?.record).toMatchObject({ state: "dead", attempts: 3, failures: 3 });
  expect(new Set(kit.orders.map(({ nodeId }) => nodeId))).toEqual(new Set(["n1", "n2", "n3"]));
  const fences = kit.orders.map(({ fence }) => fence);
  expect(fences).toEqual(fences.toSorted((a, b) => a - b));
  expect(kit.store.letters).toMatchObject([{ id: RECORD.job_id, error: { code: "runtime_failed" }, attempts: 3 }]);
  expect(kit.events.of("job_dead")).toHaveLength(1);
  expect(kit.events.of("job_ended")).toEqual([]);
  // Each run's node may forget it once that is stored.
  expect(ends.map(({ taken }) => taken.mock.calls.length)).toEqual([1, 1, 1]);
});

test("what cannot pass kills the job at once", async () => {
  const kit = await durableParts();
  kit.join(nodeRecord("n1"), nodeRecord("n2"));
  kit.outcomes.push(failed(new MeshError("bad_request", "no")));
  await kit.run();
  expect(kit.state()?.record).toMatchObject({ state: "dead", attempts: 1 });
});

test("lost nodes do not count as failures of the job, until there are too many of them", async () => {
  const kit = await durableParts();
  for (let i = 0; i < 12; i++) kit.join(nodeRecord(`n${i}`));
  kit.outcomes.push(lost, lost, lost, lost, result());
  await kit.run();
  expect(kit.state()?.record).toMatchObject({ state: "finished", losses: 4, failures: 0, attempts: 5 });

  const other = await durableParts({ losses: MAX_LOSSES });
  other.join(nodeRecord("n1"), nodeRecord("n2"));
  other.outcomes.push(lost);
  await other.run();
  expect(other.state()?.record).toMatchObject({ state: "dead", error: { code: "node_lost" } });
});

test("a run that another router ordered goes on where it is, without a new decision", async () => {
  const running = { state: "running", node_id: "n1", model: "llama3.1-8b", decision_id: "d1", attempts: 1 } as const;
  const kit = await durableParts({ ...running, holder: "_INBOX.dead.holds" });
  kit.join(nodeRecord("n1"), nodeRecord("n2"));
  kit.outcomes.push(result());
  await kit.run();
  expect(kit.orders).toMatchObject([{ nodeId: "n1", decisionId: "d1" }]);
  expect(kit.events.of("job_decided")).toEqual([]);
  expect(kit.state()?.record).toMatchObject({ state: "finished", attempts: 1, losses: 1 });
});

test("with its node gone too, the job is decided anew", async () => {
  const running = { state: "running", node_id: "n9", model: "llama3.1-8b", decision_id: "d1", attempts: 1 } as const;
  const kit = await durableParts(running);
  kit.join(nodeRecord("n1"));
  kit.outcomes.push(result());
  await kit.run();
  expect(kit.orders).toMatchObject([{ nodeId: "n1" }]);
  expect(kit.state()?.record).toMatchObject({ state: "finished", attempts: 2, losses: 1 });
});

test("a deadline that has passed ends the job before it runs", async () => {
  const kit = await durableParts({ deadline_unix_ms: 1_700_000_000_001 });
  kit.join(nodeRecord("n1"));
  await kit.run();
  expect(kit.orders).toEqual([]);
  expect(kit.state()?.record).toMatchObject({ state: "expired", error: { code: "deadline_exceeded" } });
  expect(kit.said.acks).toBe(1);
});

test("JetStream may be away while a result waits: it is committed once when that is back", async () => {
  const kit = await durableParts();
  kit.join(nodeRecord("n1"));
  kit.outcomes.push(async () => {
    kit.store.away = 2;
    return result();
  });
  await kit.run();
  expect(kit.state()?.record.state).toBe("finished");
  expect(kit.events.of("job_ended")).toHaveLength(1);
});

test("P0 and P1 do not run when their decision cannot be recorded", async () => {
  const kit = await durableParts({ security_level: "P1" });
  kit.join(nodeRecord("n1"));
  kit.parts.gate.pass = () => Promise.reject(new MeshError("audit_unavailable", "no record"));
  const running = kit.run();
  await vi.waitFor(() => expect(kit.line.size).toBe(1));
  expect(kit.orders).toEqual([]);
  expect(kit.state()?.record.state).toBe("queued");
  kit.line.stop();
  await running;
});

test("a job for which there is no node waits in its queue's order, and gives its place away after a while", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  try {
    const kit = await durableParts();
    kit.join(nodeRecord("n1", { load: { slots: 1, running: 1, queued: 9, queue_limit: 4 } }));
    const running = kit.run();
    await vi.waitFor(() => expect(kit.line.size).toBe(1));
    kit.line.tick();
    expect(kit.line.size).toBe(1);
    vi.setSystemTime(Date.now() + 11_000);
    kit.join(nodeRecord("n1", { seq: 2, load: { slots: 1, running: 1, queued: 9, queue_limit: 4 } }));
    kit.line.tick();
    await running;
    expect(kit.state()?.record).toMatchObject({ state: "queued", round: 2 });
    expect([kit.store.queued, kit.said.acks]).toEqual([[2], 1]);
  } finally {
    vi.useRealTimers();
  }
});
