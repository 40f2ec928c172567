import { expect, test } from "vitest";
import { fleetOf, lookedAt, NOW_MS, nodeRecord, routeRequest, servedModel } from "../../../test/kit/routing.ts";
import { deadline } from "./deadline.ts";

/** 1 ms way + 1000 prompt tokens at 1000/s = 1001 ms to the first token; + 100 × 10 ms to the end. */
const fleet = fleetOf(
  nodeRecord({ served_models: [servedModel({ prefill_tokens_per_second: 1000, ms_per_token: 10 })] }),
);
const within = (ms: number, batch: boolean) =>
  deadline.reject(...lookedAt(fleet, routeRequest({ promptTokens: 1000, deadlineMs: NOW_MS + ms, batch })));

test("a job is begun in time", () => {
  expect(within(1001, false)).toBeUndefined();
  expect(within(1000, false)).toBe("would need 1001 ms, 1000 ms are left");
});

test("a batch is ended in time", () => {
  expect(within(2001, true)).toBeUndefined();
  expect(within(2000, true)).toBe("would need 2001 ms, 2000 ms are left");
});

test("nothing is in time after the deadline", () => {
  expect(within(-1, false)).toMatch(/-1 ms are left/);
});
