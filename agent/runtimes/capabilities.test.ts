import { expect, test } from "vitest";
import { capabilitiesOf } from "./capabilities.ts";

test.each<[string, string[], string[]]>([
  ["tinyllama", [], ["text", "chat"]],
  ["Qwen/Qwen2.5-Coder-7B-Instruct", [], ["text", "chat", "code", "multilingual"]],
  ["qwen2.5vl:7b", [], ["text", "chat", "vision", "multilingual"]],
  ["qwen2.5vl:7b", ["completion"], ["text", "chat", "multilingual"]],
  ["deepseek-r1:14b", [], ["text", "chat", "reasoning", "multilingual", "analysis"]],
  ["nomic-embed-text:latest", [], ["embedding"]],
  ["BAAI/bge-m3", [], ["embedding"]],
  ["anything", ["embeddings"], ["embedding"]],
  ["BAAI/bge-reranker-v2-m3", [], ["rerank"]],
  ["anything", ["rerank"], ["rerank"]],
  ["anything", ["generate"], ["completion"]],
  ["anything", ["generate", "chat", "vision"], ["text", "chat", "completion", "vision"]],
  [
    "anything",
    ["completion", "vision", "tools", "thinking", "what-is-this"],
    ["text", "chat", "vision", "tools", "reasoning", "analysis"],
  ],
  ["novel-writer", [], ["text", "chat"]],
])("%s, told %j, can %j", (name, facts, expected) => {
  expect(new Set(capabilitiesOf(name, facts))).toEqual(new Set(expected));
});
