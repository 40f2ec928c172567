import { afterEach, expect, test, vi } from "vitest";
import { AuditGate } from "./audit-gate.ts";

afterEach(() => void vi.useRealTimers());

test("a job passes when its record is durable, and is counted until then", async () => {
  const gate = new AuditGate();
  const durable = Promise.withResolvers<void>();
  const passed = gate.pass("job-00001", durable.promise);
  expect(gate.size).toBe(1);
  durable.resolve();
  await expect(passed).resolves.toBeUndefined();
  expect(gate.size).toBe(0);
});

test("a record that does not become durable in time, or fails, stops the job with audit_unavailable", async () => {
  vi.useFakeTimers();
  const gate = new AuditGate();
  const late = gate.pass("job-00001", new Promise(() => {})).catch((error: unknown) => error);
  await vi.advanceTimersByTimeAsync(1499);
  expect(gate.size).toBe(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(await late).toMatchObject({ code: "audit_unavailable", retryAfterMs: 1000 });
  await expect(gate.pass("job-00002", Promise.reject(new Error("stopped")))).rejects.toMatchObject({
    code: "audit_unavailable",
  });
  expect(gate.size).toBe(0);
});

test("a job cancelled while it waits does not pass; the next one of its id does", async () => {
  const gate = new AuditGate();
  const durable = Promise.withResolvers<void>();
  const first = gate.pass("job-00001", durable.promise);
  gate.cancel("job-00001");
  gate.cancel("job-00002");
  const second = gate.pass("job-00001", durable.promise);
  const other = gate.pass("job-00002", durable.promise);
  durable.resolve();
  await expect(first).rejects.toMatchObject({ code: "cancelled" });
  await expect(second).resolves.toBeUndefined();
  await expect(other).resolves.toBeUndefined();
  gate.cancel("job-00001");
  await expect(gate.pass("job-00001", Promise.resolve())).resolves.toBeUndefined();
});

test("when an older try of a job has passed, the newer one can still be cancelled", async () => {
  const gate = new AuditGate();
  const durable = Promise.withResolvers<void>();
  const older = gate.pass("job-00001", Promise.resolve());
  const newer = gate.pass("job-00001", durable.promise);
  await older;
  gate.cancel("job-00001");
  durable.resolve();
  await expect(newer).rejects.toMatchObject({ code: "cancelled" });
});

test("a try that its caller asks for again while it waits is let go, and is no error", async () => {
  const gate = new AuditGate();
  const { promise, resolve } = Promise.withResolvers<void>();
  const passed = gate.pass("job-00001", promise);
  gate.supersede("job-00001");
  resolve();
  expect(await passed).toBe("superseded");
  expect(gate.size).toBe(0);
});
