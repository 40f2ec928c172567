import { expect, test } from "vitest";
import { toCall } from "./call.ts";

test("the header Idempotency-Key makes a retry the same job", () => {
  expect(toCall({}, {}, { "idempotency-key": "order 7" }).job.idempotency_key).toBe("order 7");
  expect(toCall({}, {}, { "idempotency-key": "" }).job.idempotency_key).toBeUndefined();
});
