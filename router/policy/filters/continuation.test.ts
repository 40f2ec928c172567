import { expect, test } from "vitest";
import { fleetOf, lookedAt, nodeRecord, routeRequest } from "../../../test/kit/routing.ts";
import { continuation } from "./continuation.ts";

const rejects = (continues: boolean, runtime: object) => {
  const node = nodeRecord({ runtimes: [{ name: "ollama", kind: "ollama", ...runtime }] });
  return continuation.reject(...lookedAt(fleetOf(node), routeRequest({ continues })));
};

test("an answer goes on only where its beginning can be given; a new job goes anywhere", () => {
  expect(rejects(true, { continues: true })).toBeUndefined();
  expect(rejects(true, {})).toBe("its runtime ollama cannot go on with another's answer");
  expect(rejects(false, {})).toBeUndefined();
});

test("what another runtime of the node can does not help", () => {
  const other = { name: "vllm-8000", kind: "vllm", continues: true };
  expect(rejects(true, other)).toMatch(/cannot go on/);
});
