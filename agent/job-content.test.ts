import { expect, test } from "vitest";
import { JobRequest } from "../bus-schemas/index.ts";
import { contentOf } from "./job-content.ts";

const of = (fields: object) => contentOf(JobRequest.parse(fields));
const MESSAGES = [{ role: "user", content: "hi" }];

test("a chat goes with its messages and parameters, and its begun answer as the last message", () => {
  expect(of({ messages: MESSAGES, temperature: 0, seed: 7, session_id: "s" })).toEqual({
    messages: MESSAGES,
    parameters: { temperature: 0, seed: 7 },
    continues: false,
  });
  expect(of({ prompt: "hi", continue_from: "Hel" })).toEqual({
    messages: [...MESSAGES, { role: "assistant", content: "Hel" }],
    parameters: {},
    continues: true,
  });
});

test("a completion that another node began goes on with the longer text, on any runtime", () => {
  expect(of({ task: "completion", prompt: "Once ", continue_from: "upon", max_tokens: 5 })).toEqual({
    messages: [],
    parameters: { max_tokens: 5 },
    continues: false,
    input: { task: "completion", prompt: "Once upon" },
  });
});

test("embeddings and reranking are sampled by nothing", () => {
  expect(of({ task: "embedding", input: ["a"], temperature: 1 })).toEqual({
    messages: [],
    parameters: {},
    continues: false,
    input: { task: "embedding", input: ["a"] },
  });
  expect(of({ task: "rerank", query: "q", documents: ["d"], max_tokens: 1 })).toMatchObject({ parameters: {} });
});
