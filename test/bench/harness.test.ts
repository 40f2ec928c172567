import { expect, test } from "vitest";
import { describe, differenceUs, paired, quantile } from "./harness.ts";

test("each round runs every variant once, in an order that rotates", async () => {
  const order: string[] = [];
  const variant = (name: string) => () => {
    order.push(name);
    return 1;
  };
  await paired("t", { a: variant("a"), b: variant("b") }, { rounds: 3, warmupRounds: 1 });
  expect(order.join("")).toBe("abbaabba");
});

test("the floor is 1 in every round, and times are for one operation", async () => {
  const work = (loops: number, ops: number) => () => {
    let sum = 0;
    for (let i = 0; i < loops; i++) sum += Math.sqrt(i);
    return sum > 0 ? ops : 0;
  };
  const comparison = await paired("loops", { once: work(400_000, 1), tenth: work(400_000, 10) }, { rounds: 5 });
  const [floor, tenth] = comparison.results;
  const lines = describe(comparison);
  expect(floor).toMatchObject({ variant: "once", ratio: 1, ratioQuartiles: [1, 1] });
  expect(tenth?.ratio).toBeLessThan(1);
  expect(lines).toHaveLength(3);
  expect(lines[1]).toMatch(/once .* µs .* µs CPU .* floor$/);
});

test("a variant that did nothing, and a floor that is not there, are errors", async () => {
  await expect(paired("t", { a: () => 0 }, { rounds: 1 })).rejects.toThrow(/how many operations/);
  await expect(paired("t", { a: () => 1 }, { floor: "b" })).rejects.toThrow(/no variant "b"/);
});

test("quantiles lie between neighbours", () => {
  expect([quantile([3, 1, 2], 0.5), quantile([4, 1], 0.5), quantile([1, 2, 3, 4, 5], 0.25)]).toEqual([2, 2.5, 2]);
});

test("latencies count by their median, and the CPU time is the tested process's where it says so", async () => {
  const comparison = await paired(
    "t",
    { a: () => ({ ops: 4, cpuUs: 8, latenciesUs: [1, 2, 3, 100] }), b: () => ({ ops: 1, latenciesUs: [5] }) },
    { rounds: 3, warmupRounds: 0 },
  );
  const { results } = comparison;
  expect(results).toMatchObject([
    { usPerOp: 2.5, cpuUsPerOp: 2, ratio: 1, roundsUs: [2.5, 2.5, 2.5] },
    { usPerOp: 5, p99Us: 5, ratio: 2 },
  ]);
  expect(differenceUs(comparison, "b", "a")).toEqual([2.5, 2.5, 2.5]);
  expect(describe(comparison)[2]).toMatch(/2× the floor \(2 to 2\), \+2.5 µs$/);
  expect(results[0]?.p99Us).toBeGreaterThan(90);
});
