import { expect, test } from "vitest";
import { RetryBudget } from "./retry-budget.ts";

function budgetAt() {
  const clock = { nowMs: 0 };
  const budget = new RetryBudget(() => clock.nowMs);
  const takeAll = (atMost = 10_000) => {
    let taken = 0;
    while (taken < atMost && budget.take()) taken++;
    return taken;
  };
  return { clock, budget, takeAll };
}

test("a quiet router may retry twenty times in half a minute", () => {
  const { clock, takeAll } = budgetAt();
  expect(takeAll()).toBe(20);
  clock.nowMs = 29_000;
  expect(takeAll()).toBe(0);
  clock.nowMs = 31_000;
  expect(takeAll()).toBe(20);
});

test("a busy one a tenth of its fresh dispatches of the last half minute", () => {
  const { clock, budget, takeAll } = budgetAt();
  for (let i = 0; i < 1000; i++) budget.fresh();
  expect(takeAll()).toBe(100);
  clock.nowMs = 10_000;
  for (let i = 0; i < 500; i++) budget.fresh();
  expect(takeAll()).toBe(50);
  clock.nowMs = 31_000;
  expect(takeAll()).toBe(0);
  clock.nowMs = 60_000;
  expect(takeAll()).toBe(20);
});
