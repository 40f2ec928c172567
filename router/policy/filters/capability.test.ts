import { expect, test } from "vitest";
import { RoutingConfig } from "../../../bus-schemas/index.ts";
import { fleetOf, lookedAt, nodeRecord, policyOf, routeRequest, servedModel } from "../../../test/kit/routing.ts";
import { capability } from "./capability.ts";

const serving = (...capabilities: string[]) => fleetOf(nodeRecord({ served_models: [servedModel({ capabilities })] }));
const wanting = (...capabilities: string[]) => routeRequest({ capabilities });

test("what is missing is named", () => {
  const rejected = capability.reject(...lookedAt(serving("text", "chat"), wanting("text", "vision", "code")));
  expect(rejected).toBe("lacks vision, code");
  expect(capability.reject(...lookedAt(serving("text", "vision"), wanting("vision")))).toBeUndefined();
});

test("a model of which nothing is known is a text model", () => {
  expect(capability.reject(...lookedAt(serving(), wanting("text")))).toBeUndefined();
  expect(capability.reject(...lookedAt(serving(), wanting("vision")))).toBe("lacks vision");
});

test("the registry's word counts beside the runtime's", () => {
  const { models } = RoutingConfig.parse({ models: { "qwen2-7b": { layers: ["L1"], capabilities: ["code"] } } });
  expect(
    capability.reject(...lookedAt(serving("text"), wanting("text", "code"), policyOf({}, models))),
  ).toBeUndefined();
});

test("a job that wants text does not go to an embedding model, one that wants embeddings does", () => {
  expect(capability.reject(...lookedAt(serving("embedding")))).toMatch(/writes no text/);
  expect(capability.reject(...lookedAt(serving("embedding"), wanting("embedding")))).toBeUndefined();
  expect(capability.reject(...lookedAt(serving("embedding", "text")))).toBeUndefined();
});

test("a job without a task of its own does not go to a model that is for reranking or bare texts alone", () => {
  expect(capability.reject(...lookedAt(serving("rerank")))).toBe("is a model for rerank and no chat");
  expect(capability.reject(...lookedAt(serving("completion")))).toBe("is a model for completion and no chat");
  expect(capability.reject(...lookedAt(serving("rerank"), wanting("rerank")))).toBeUndefined();
  expect(capability.reject(...lookedAt(serving("rerank"), wanting("embedding")))).toBe("lacks embedding");
});
