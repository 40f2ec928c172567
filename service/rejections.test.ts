import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { EVENTS, MeshError } from "../bus-schemas/index.ts";
import type { EventPublisher } from "./events.ts";
import { createLog } from "./log.ts";
import { Metrics } from "./metrics.ts";
import { Rejections } from "./rejections.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function setUp() {
  const recorded: unknown[] = [];
  let broken = false;
  const events = {
    record: (type: string, data: unknown) => {
      if (broken) throw new MeshError("audit_unavailable", "full");
      expect(type).toBe("message_rejected");
      recorded.push(EVENTS.message_rejected.data.parse(data));
    },
  } as unknown as EventPublisher;
  const metrics = new Metrics("router");
  const rejections = new Rejections("router", events, metrics, createLog("test", "silent"));
  return { rejections, recorded, metrics, setBroken: (now: boolean) => (broken = now) };
}

const bad = (field?: string) => new MeshError("bad_request", "not so", { field });

test("a flood of one kind becomes one event with its count", async () => {
  const { rejections, recorded, metrics } = setUp();
  for (let i = 0; i < 10_000; i++) rejections.add("heartbeat", bad(`hardware.gpus[${i}].name`));
  await vi.advanceTimersByTimeAsync(1200);
  expect(recorded).toEqual([
    { process: "router", subject_kind: "heartbeat", code: "bad_request", field: "hardware.gpus[].name", count: 10_000 },
  ]);
  expect(await metrics.registry.metrics()).toContain(
    'tiermesh_messages_rejected_total{kind="heartbeat",code="bad_request",process="router"} 10000',
  );
  await rejections.close();
});

test("a flood of ever new fields stays a bounded number of events, and none is lost from the count", async () => {
  const { rejections, recorded } = setUp();
  for (let i = 0; i < 10_000; i++) rejections.add("submit", bad(`f${i}`));
  await rejections.close();
  expect(recorded.length).toBeLessThanOrEqual(101);
  expect((recorded as { count: number }[]).reduce((sum, { count }) => sum + count, 0)).toBe(10_000);
});

test("while events cannot be recorded the counts wait", async () => {
  const { rejections, recorded, setBroken } = setUp();
  setBroken(true);
  rejections.add("submit", bad());
  await vi.advanceTimersByTimeAsync(5000);
  expect(recorded).toEqual([]);
  rejections.add("submit", bad());
  setBroken(false);
  await vi.advanceTimersByTimeAsync(1200);
  expect(recorded).toMatchObject([{ count: 2, field: null }]);
  await rejections.close();
});
