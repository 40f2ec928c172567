import { expect, test } from "vitest";
import { fleetOf, lookedAt, nodeRecord } from "../../../test/kit/routing.ts";
import { health } from "./health.ts";

test("a degraded node is not chosen", () => {
  expect(health.reject(...lookedAt(fleetOf(nodeRecord({ status: "degraded", status_reason: "disk full" }))))).toBe(
    "is degraded: disk full",
  );
  expect(health.reject(...lookedAt(fleetOf(nodeRecord({ status: "degraded" }))))).toBe("is degraded");
});

test("a model whose own runtime is down is not chosen, another runtime's trouble is no matter", () => {
  const down = (name: string) => fleetOf(nodeRecord({ runtimes: [{ name, kind: name, healthy: false }] }));
  expect(health.reject(...lookedAt(down("ollama")))).toMatch(/ollama does not answer/);
  expect(health.reject(...lookedAt(down("vllm")))).toBeUndefined();
});
