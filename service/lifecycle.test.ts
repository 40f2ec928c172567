import { expect, test } from "vitest";
import { Lifecycle } from "./lifecycle.ts";
import { createLog } from "./log.ts";

const quiet = createLog("test", "silent");

test("what was opened last is closed first, each one once", async () => {
  const lifecycle = new Lifecycle(quiet);
  const closed: string[] = [];
  for (const name of ["bus", "events", "server"]) lifecycle.onClose(name, () => void closed.push(name));
  await Promise.all([lifecycle.close(), lifecycle.close()]);
  await lifecycle.close();
  expect(closed).toEqual(["server", "events", "bus"]);
});

test("a closer waits for the one before it", async () => {
  const lifecycle = new Lifecycle(quiet);
  const { promise, resolve } = Promise.withResolvers<void>();
  let busClosed = false;
  lifecycle.onClose("bus", () => void (busClosed = true));
  lifecycle.onClose("jobs", () => promise);
  const closing = lifecycle.close();
  await Promise.resolve();
  expect(busClosed).toBe(false);
  resolve();
  await closing;
  expect(busClosed).toBe(true);
});

test("a closer that throws does not keep the others from running", async () => {
  const lifecycle = new Lifecycle(quiet);
  let closed = false;
  lifecycle.onClose("bus", () => void (closed = true));
  lifecycle.onClose("broken", () => {
    throw new Error("broken");
  });
  lifecycle.onClose("broken later", () => Promise.reject(new Error("broken")));
  await lifecycle.close();
  expect([closed, lifecycle.state]).toEqual([true, "closed"]);
});

test("draining begins at once, is told by the signal, and ends closed", async () => {
  const lifecycle = new Lifecycle(quiet);
  expect([lifecycle.state, lifecycle.signal.aborted]).toEqual(["running", false]);
  let seen: unknown[] = [];
  lifecycle.onClose("looks", () => void (seen = [lifecycle.state, lifecycle.signal.aborted]));
  await lifecycle.close();
  expect(seen).toEqual(["draining", true]);
  expect(lifecycle.state).toBe("closed");
});
