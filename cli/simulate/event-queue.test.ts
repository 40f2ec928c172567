import fc from "fast-check";
import { expect, test } from "vitest";
import { EventQueue } from "./event-queue.ts";

test("events run in the order of their times, those of one moment in the order in which they were planned", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 60 }), (times) => {
      const queue = new EventQueue(100);
      const ran: [number, number][] = [];
      times.forEach((ms, i) => queue.after(ms, () => void ran.push([queue.nowMs, i])));
      while (queue.step());
      const planned = times.map((ms, i): [number, number] => [100 + ms, i]);
      expect(ran).toEqual(planned.toSorted((a, b) => a[0] - b[0] || a[1] - b[1]));
    }),
  );
});

test("an event may plan others; one in the past runs now, and time never goes back", () => {
  const queue = new EventQueue(0);
  const ran: string[] = [];
  queue.at(10, () => {
    ran.push("first");
    queue.at(5, () => void ran.push(`late at ${queue.nowMs}`));
    queue.after(1, () => void ran.push(`next at ${queue.nowMs}`));
  });
  while (queue.step());
  expect(ran).toEqual(["first", "late at 10", "next at 11"]);
  expect(queue.step()).toBe(false);
});
