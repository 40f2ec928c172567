import { expect, test } from "vitest";
import { fleetOf, lookedAt, nodeRecord, routeRequest, servedModel } from "../../../test/kit/routing.ts";
import { slo } from "./slo.ts";

test("a node that would miss the wanted time is removed only while those in time are looked for", () => {
  // 100 tokens at 100 a second: the first token comes after 1 s and the round trip of 1 ms.
  const fleet = fleetOf(nodeRecord({ served_models: [servedModel({ prefill_tokens_per_second: 100 })] }));
  const reject = (sloMs: number, inTimeOnly: boolean) => {
    const [option, request, context] = lookedAt(fleet, routeRequest({ sloMs }));
    return slo.reject(option, request, { ...context, inTimeOnly });
  };
  expect(reject(1000, true)).toBe("would need 1001 ms, 1000 ms are wanted");
  expect(reject(1001, true)).toBeUndefined();
  expect(reject(1000, false)).toBeUndefined();
});
