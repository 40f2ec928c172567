import fc from "fast-check";
import { expect, test } from "vitest";
import { fleetOf, lookedAt, policyOf, nodeRecord, routeRequest, servedModel } from "../../../test/kit/routing.ts";
import { latency, latencyScore } from "./latency.ts";

/** A node that reads a prompt in about a second and writes an answer in `msPerToken` times 100. */
const look = (ms_per_token: number, batch: boolean) =>
  lookedAt(
    fleetOf(nodeRecord({ served_models: [servedModel({ prefill_tokens_per_second: 100, ms_per_token })] })),
    routeRequest({ batch }),
    policyOf(),
  );

test("of two nodes that begin alike the one that writes faster is better, for a batch by far", () => {
  const [quick, slow, slowBatch] = [look(10, false), look(40, false), look(40, true)].map((args) =>
    latency.score(...args),
  );
  expect(slow).toBeLessThan(quick ?? 0);
  expect(slowBatch).toBeLessThan((slow ?? 0) / 2);
});

test("a session's home counts as faster than predicted", () => {
  const [option, request, context] = look(10, false);
  const away = latency.score(option, request, context);
  expect(latency.score(option, request, { ...context, home: option.view })).toBeGreaterThan(away);
});

test("1 at once, one half at the wanted time, a fifth at twice that", () => {
  expect([latencyScore(0, 1500), latencyScore(1500, 1500), latencyScore(3000, 1500)]).toEqual([1, 0.5, 0.2]);
});

test("it falls with time and stays a number, whatever is wanted", () => {
  const ms = fc.double({ min: 0, max: 1e20, noNaN: true });
  fc.assert(
    fc.property(ms, ms, ms, (a, b, slo) => {
      expect(latencyScore(Math.max(a, b), slo)).toBeLessThanOrEqual(latencyScore(Math.min(a, b), slo));
      expect(latencyScore(a, slo)).toBeGreaterThanOrEqual(0);
    }),
  );
});
