import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeBus } from "../test/kit/router-parts.ts";
import type { Bus } from "./bus.ts";
import { EventPublisher } from "./events.ts";
import { createLog } from "./log.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("an event that the stream does not take is sent again soon, while P0 and P1 still wait; later less often", async () => {
  const bus = new FakeBus();
  const events = new EventPublisher(bus as unknown as Bus, "router", "router-1", createLog("test", "silent"));
  const { id } = events.record("process_started", { process: "router", restarts: 0, exit: null });
  const sends = () => bus.on("mesh.main.event.process_started").length;
  expect(sends()).toBe(1);
  // The router's audit gate gives up after 1.5 s (router/audit-gate.ts).
  await vi.advanceTimersByTimeAsync(1450);
  expect(sends()).toBeGreaterThanOrEqual(3);
  const soon = sends();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(sends() - soon).toBeLessThanOrEqual(6);
  const [first] = bus.on("mesh.main.event.process_started");
  bus.deliver(first?.reply ?? "", { stream: "AUDIT", seq: 1 });
  expect([first?.headers?.get("Nats-Msg-Id"), events.pendingCount]).toEqual([id, 0]);
  const acknowledged = sends();
  await vi.advanceTimersByTimeAsync(5000);
  expect(sends()).toBe(acknowledged);
  await events.close();
});
