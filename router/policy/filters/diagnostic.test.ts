import { expect, test } from "vitest";
import { ECHO, fleetOf, lookedAt, nodeRecord } from "../../../test/kit/routing.ts";
import { diagnostic } from "./diagnostic.ts";

test("the echo is kept back while a real model fits", () => {
  const [echo, request, context] = lookedAt(fleetOf(nodeRecord(ECHO)));
  expect(diagnostic.reject(echo, request, context)).toMatch(/diagnostic echo/);
  expect(diagnostic.reject(echo, request, { ...context, diagnosticAllowed: true })).toBeUndefined();
  expect(diagnostic.reject(...lookedAt(fleetOf(nodeRecord())))).toBeUndefined();
});
