import { expect, test } from "vitest";
import { AllBusyError, SlotGate } from "./slot-gate.ts";

const never = new AbortController().signal;

test("slots are given in order of arrival, and a release twice frees one slot only", async () => {
  const gate = new SlotGate({ slots: 1, maxWaiting: 2, maxWaitMs: 60_000 });
  const leave = await gate.enter(never);
  const order: string[] = [];
  const second = gate.enter(never).then((next) => (order.push("second"), next));
  const third = gate.enter(never).then((next) => (order.push("third"), next));
  expect(gate.waiting).toBe(2);
  leave();
  leave();
  const leaveSecond = await second;
  expect(order).toEqual(["second"]);
  leaveSecond();
  (await third)();
  expect(order).toEqual(["second", "third"]);
  expect(gate.busy).toBe(0);
});

test("more than may wait are turned away", async () => {
  const gate = new SlotGate({ slots: 1, maxWaiting: 0, maxWaitMs: 60_000 });
  await gate.enter(never);
  await expect(gate.enter(never)).rejects.toThrow(AllBusyError);
});

test("one who stops waiting leaves the line and costs no slot", async () => {
  const gate = new SlotGate({ slots: 1, maxWaiting: 1, maxWaitMs: 60_000 });
  const leave = await gate.enter(never);
  const stop = new AbortController();
  const waiting = gate.enter(stop.signal);
  stop.abort(new Error("gone"));
  await expect(waiting).rejects.toThrow("gone");
  expect(gate.waiting).toBe(0);
  leave();
  expect(gate.busy).toBe(0);
});
